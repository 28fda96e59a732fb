import * as React from 'react';

/** Up and down go from button to button of a list; up from the first to what can be typed above it. */
export function stepFocus(
  event: React.KeyboardEvent,
  list: HTMLElement | null
): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !list) {
    return;
  }
  const places = [...list.querySelectorAll<HTMLElement>('input, button')];
  const here = places.findIndex(one => one === document.activeElement);
  event.preventDefault();
  places[here + step]?.focus();
}
