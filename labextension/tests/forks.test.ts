import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { IForkForm } from '../src/api';
import { fieldsOfFork, forkOf } from '../src/forks';

const FORM: IForkForm = {
  checkpoints: [
    { epoch: 1, step: 10, metrics: { 'val/auroc': 0.7 }, is_best: true },
    { epoch: 1, step: 15, metrics: {}, is_best: false }
  ],
  settings: { lr: 0.0003, patience: null, optimizer: 'adamw', freeze: [] },
  schema: {
    properties: {
      lr: { type: 'number', exclusiveMinimum: 0, maximum: 10, usual: true },
      patience: {
        anyOf: [{ type: 'integer', minimum: 1 }, { type: 'null' }],
        usual: true
      },
      optimizer: { enum: ['adamw', 'sgd'], usual: true },
      mixup: { type: 'number' },
      freeze: { type: 'array', items: { type: 'string' } }
    }
  }
};

test('the form has the checkpoints, the newest first, and what a fork may change', () => {
  const fields = fieldsOfFork(FORM);
  assert.deepEqual(
    fields.map(field => [field.name, field.value]),
    [
      ['checkpoint', ''],
      ['name', ''],
      ['lr', '0.0003'],
      ['patience', 'none'],
      ['optimizer', 'adamw'],
      ['others', '']
    ]
  );
  assert.deepEqual(fields[0].choices, [
    ['', 'the newest checkpoint'],
    ['15', 'epoch 1 · step 15'],
    ['10', 'epoch 1 · step 10 · val/auroc 0.700 ★']
  ]);
  assert.equal(fields[2].label, 'lr: above 0 to 10');
  assert.equal(fields[5].help, 'mixup, freeze');
});

test('a fork has what was changed alone, and any other setting that is written', () => {
  const texts = Object.fromEntries(
    fieldsOfFork(FORM).map(field => [field.name, field.value])
  );
  assert.deepEqual(forkOf(FORM, texts), { config: {} });
  const filled = {
    ...texts,
    checkpoint: '10',
    name: ' slower ',
    lr: '1e-4',
    patience: '5',
    others: 'mixup=0.2  freeze=head,fusion nesterov=true lr2=fast'
  };
  assert.deepEqual(forkOf(FORM, filled), {
    epoch: 1,
    step: 10,
    name: 'slower',
    config: {
      lr: 0.0001,
      patience: 5,
      mixup: 0.2,
      freeze: ['head', 'fusion'],
      nesterov: true,
      lr2: 'fast'
    }
  });
});
