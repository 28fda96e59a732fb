const FIRST = 1000;
const LONGEST = 30000;

/**
 * Milliseconds to wait before the next try to connect: doubling, with up to a quarter taken off at random so that the
 * browsers of a class do not all come back at once. chance: 0 to 1.
 */
export function reconnectDelay(failures: number, chance: number): number {
  const delay = Math.min(LONGEST, FIRST * 2 ** Math.min(failures, 10));
  return delay * (1 - chance / 4);
}
