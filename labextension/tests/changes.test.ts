import assert from 'node:assert/strict';
import { test } from 'node:test';

import { changesOf, textsOf } from '../src/changes';

const SETTINGS = {
  lr: 0.0003,
  encoder_lr: null,
  epochs: 20,
  patience: null,
  freeze: ['image_encoder'],
  unfreeze: []
};

test('the form has the settings that this run may change', () => {
  assert.deepEqual(textsOf(SETTINGS), {
    lr: '0.0003',
    epochs: '20',
    patience: 'none',
    unfreeze: ''
  });
  assert.deepEqual(Object.keys(textsOf({ ...SETTINGS, encoder_lr: 1e-4 })), [
    'lr',
    'epochs',
    'patience',
    'encoder_lr',
    'unfreeze'
  ]);
});

test('what was not touched is not changed', () => {
  const before = textsOf(SETTINGS);
  assert.deepEqual(changesOf(before, before), {});
  assert.deepEqual(
    changesOf(before, {
      ...before,
      lr: ' 1e-4 ',
      patience: '7',
      unfreeze: 'image_encoder.stem, image_encoder.body'
    }),
    {
      lr: 0.0001,
      patience: 7,
      unfreeze: ['image_encoder.stem', 'image_encoder.body']
    }
  );
  assert.deepEqual(changesOf({ patience: '7' }, { patience: 'None' }), {
    patience: null
  });
  assert.deepEqual(changesOf({ unfreeze: '' }, { unfreeze: 'all' }), {
    unfreeze: 'all'
  });
});

test('a text that is no number goes to the server, which says what is allowed', () => {
  assert.deepEqual(changesOf({ lr: '1' }, { lr: 'fast' }), { lr: 'fast' });
  assert.deepEqual(changesOf({ epochs: '1' }, { epochs: '' }), { epochs: '' });
});
