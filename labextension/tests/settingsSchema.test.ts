import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fieldsOf, IField, summary } from '../src/workflow/settingsSchema';

/** As pydantic writes the settings of a node. */
const SCHEMA = {
  $defs: {
    Augmentation: {
      type: 'object',
      properties: {
        flip: { type: 'number', default: 0.5, maximum: 1, minimum: 0 }
      }
    }
  },
  required: ['name'],
  properties: {
    name: { type: 'string', description: 'of a stored dataset' },
    n: { type: 'integer', default: 2000, minimum: 20, maximum: 1000000 },
    seed: {
      type: 'integer',
      default: 0,
      minimum: 0,
      exclusiveMaximum: 2147483648
    },
    lr: { type: 'number', default: 0.001, exclusiveMinimum: 0, maximum: 10 },
    patience: {
      anyOf: [{ type: 'integer', minimum: 1 }, { type: 'null' }],
      default: 10,
      unit: 'epochs',
      group: 'Limits'
    },
    optimizer: { type: 'string', enum: ['adamw', 'sgd'], default: 'adamw' },
    compile: { type: 'boolean', default: false },
    milestones: {
      anyOf: [{ type: 'array', items: { type: 'integer' } }, { type: 'null' }],
      default: null
    },
    augment: {
      anyOf: [{ $ref: '#/$defs/Augmentation' }, { type: 'null' }],
      default: { flip: 0.5 }
    },
    class_weights: {
      anyOf: [
        { const: 'balanced', type: 'string' },
        { type: 'object' },
        { type: 'null' }
      ],
      default: null
    }
  }
};

const FIELDS = fieldsOf(SCHEMA);

function field(name: string): IField {
  const found = FIELDS.find(one => one.name === name);
  assert.ok(found);
  return found;
}

test('each setting has the input of its kind', () => {
  const kinds = FIELDS.map(one => `${one.name} ${one.kind}`);
  assert.deepEqual(kinds, [
    'name text',
    'n integer',
    'seed integer',
    'lr number',
    'patience integer',
    'optimizer choice',
    'compile switch',
    'milestones list',
    'augment group',
    'class_weights json'
  ]);
});

test('ranges are said as a person says them', () => {
  assert.equal(field('n').range, '20 to 1,000,000');
  assert.equal(field('lr').range, 'above 0 to 10');
  assert.equal(field('patience').range, '1 or more');
  assert.equal(field('seed').range, '0 or more');
});

test('units, headings, choices and what is needed come from the schema', () => {
  assert.equal(field('patience').unit, 'epochs');
  assert.equal(field('patience').group, 'Limits');
  assert.deepEqual(field('optimizer').choices, ['adamw', 'sgd']);
  assert.deepEqual(field('class_weights').choices, ['balanced']);
  assert.ok(field('name').required);
  assert.equal(field('name').help, 'of a stored dataset');
  assert.ok(field('patience').nullable);
  assert.ok(!field('lr').nullable);
  assert.ok(field('milestones').ofNumbers);
  assert.deepEqual(
    field('augment').fields.map(one => `${one.name} ${one.range}`),
    ['flip 0 to 1']
  );
});

test('a node is summed up by what differs from its defaults', () => {
  const settings = {
    n: 500,
    lr: 0.001,
    compile: true,
    milestones: [10, 15],
    patience: null,
    unheard: 'x'
  };
  assert.equal(
    summary(settings, FIELDS),
    'n 500 · compile · milestones 10, 15 · patience none · unheard x'
  );
  assert.equal(summary({ name: 'gated', n: 500 }, FIELDS), 'gated · n 500');
});
