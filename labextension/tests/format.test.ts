import assert from 'node:assert/strict';
import { test } from 'node:test';

import { reconnectDelay } from '../src/backoff';
import {
  ago,
  headline,
  metricName,
  number,
  polyline,
  span,
  timeOfDay,
  withInterval,
  withoutStart
} from '../src/format';

test('numbers have three digits, and a dash stands for none', () => {
  assert.equal(number(0.8744), '0.874');
  assert.equal(number(0), '0.000');
  assert.equal(number(null), '–');
  assert.equal(number(undefined), '–');
});

test('lengths of time are said in at most two words', () => {
  assert.equal(span(-1), '0 s');
  assert.equal(span(35), '35 s');
  assert.equal(span(180), '3 min');
  assert.equal(span(7500), '2 h 5 min');
  assert.equal(span(3599), '1 h 0 min');
  assert.equal(span(180000), '2 d 2 h');
});

test('moments to come have their day where it is another one', () => {
  const now = Date.parse('2026-11-24T12:00:00');
  assert.match(timeOfDay('2026-11-24T14:05:00', now), /^0?[0-9]+.05/);
  assert.match(timeOfDay('2026-11-25T14:05:00', now), /25.*05/);
});

test('moments are said by how long ago they were', () => {
  const now = Date.parse('2026-11-23T12:00:00Z');
  assert.equal(ago('2026-11-23T11:59:30.000000Z', now), 'just now');
  assert.equal(ago('2026-11-23T11:48:00Z', now), '12 min ago');
  assert.equal(ago('2026-11-23T09:59:00Z', now), '2 h ago');
  assert.equal(ago('2026-11-20T11:00:00Z', now), '3 d ago');
  assert.equal(ago(null, now), '');
});

test('a fold is called by what tells it from the others', () => {
  assert.equal(withoutStart('icu fold 1', 'icu'), 'fold 1');
  assert.equal(withoutStart('renamed', 'icu'), 'renamed');
  assert.equal(withoutStart('icu2 fold 1', 'icu'), 'icu2 fold 1');
});

test('a metric carries its interval where there is one', () => {
  const metrics = {
    'val/auroc': 0.874,
    'val/auroc_low': 0.81,
    'val/auroc_high': 0.92
  };
  assert.equal(withInterval(metrics, 'val/auroc'), '0.874 [0.81, 0.92]');
  assert.equal(withInterval({ 'val/auroc': 0.874 }, 'val/auroc'), '0.874');
  assert.equal(withInterval({}, 'val/auroc'), '–');
  assert.equal(metricName('val/auroc'), 'AUROC');
  assert.equal(metricName('test/c_index'), 'test C index');
  assert.equal(metricName('train/loss'), 'train loss');
  assert.equal(metricName('val/death_c_index'), 'death C index');
  assert.equal(metricName('test/icu_auroc'), 'test icu AUROC');
});

test('a model is shown by the first metric that its target has', () => {
  assert.equal(headline({ 'val/loss': 1, 'val/c_index': 0.7 }), 'val/c_index');
  assert.equal(headline({ 'val/loss': 1, 'test/mae': 2 }), 'val/loss');
  assert.equal(
    headline({ 'val/loss': 1, 'val/icu_auroc_low': 0, 'val/icu_auroc': 0.7 }),
    'val/icu_auroc'
  );
});

test('a sparkline fills its box, also where nothing changes', () => {
  assert.equal(polyline([0, 1], 64, 18), '0.0,17.0 64.0,1.0');
  assert.equal(polyline([5, 5, 5], 64, 18), '0.0,17.0 32.0,17.0 64.0,17.0');
});

test('waits double up to half a minute and are spread', () => {
  assert.equal(reconnectDelay(0, 0), 1000);
  assert.equal(reconnectDelay(3, 0), 8000);
  assert.equal(reconnectDelay(99, 0), 30000);
  assert.equal(reconnectDelay(99, 1), 22500);
});
