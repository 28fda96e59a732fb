import { CommandRegistry } from '@lumino/commands';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { Menu } from '@lumino/widgets';

/** Open what can be asked of a row of the panel as a menu below its button; between the groups is a line. */
export function openRowMenu(
  commands: CommandRegistry,
  groups: readonly (readonly string[])[],
  args: ReadonlyPartialJSONObject,
  button: HTMLElement
): void {
  const menu = new Menu({ commands });
  for (const group of groups.filter(one => one.length > 0)) {
    if (menu.items.length > 0) {
      menu.addItem({ type: 'separator' });
    }
    for (const command of group) {
      // short: within the menu of a row its label need not say again what it is about
      menu.addItem({ command, args: { ...args, short: true } });
    }
  }
  menu.aboutToClose.connect(() => button.focus());
  const place = button.getBoundingClientRect();
  menu.open(place.left, place.bottom);
}
