import * as React from 'react';

/**
 * Keep the keys of an editor that a person is at. The focus falls to the page when the node under it is deleted or the button
 * under it is disabled; the next key would then be the notebook's, where `d d` deletes a cell. It is given to the editor.
 */
export function useKeptFocus(box: React.RefObject<HTMLElement>): void {
  React.useEffect(() => {
    let inside = false;
    const follow = (event: Event) => {
      inside =
        event.target instanceof Node &&
        box.current?.contains(event.target) === true;
    };
    const keep = (event: KeyboardEvent) => {
      const editor = box.current;
      if (inside && editor && document.activeElement === document.body) {
        event.stopImmediatePropagation();
        event.preventDefault();
        editor.focus({ preventScroll: true });
        editor.dispatchEvent(new KeyboardEvent(event.type, event));
      }
    };
    window.addEventListener('pointerdown', follow, true);
    window.addEventListener('focusin', follow, true);
    // before JupyterLab, which listens at the document
    window.addEventListener('keydown', keep, true);
    return () => {
      window.removeEventListener('pointerdown', follow, true);
      window.removeEventListener('focusin', follow, true);
      window.removeEventListener('keydown', keep, true);
    };
  }, [box]);
}
