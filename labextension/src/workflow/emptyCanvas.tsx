import * as React from 'react';

import { useEditor, useModel, useWords } from './context';
import { Icon } from './icons';

/** What an empty canvas offers: how to begin, and the templates. */
export function EmptyCanvas(): React.JSX.Element {
  const model = useModel();
  const trans = useWords();
  const templates = useEditor(state => state.templates);
  return (
    <div className="mf-flow-empty">
      <h3>{trans.__('An empty workflow')}</h3>
      <p>
        {trans.__(
          'Drag a node from the left, or double-click here to search for one.'
        )}
      </p>
      {templates.length > 0 && (
        <>
          <p className="mf-flow-quiet">
            {trans.__('Or start from a template:')}
          </p>
          <div className="mf-flow-templates">
            {templates.map(template => (
              <button
                key={template.name}
                onClick={() => model.insertTemplate(template)}
              >
                <Icon name="template" />
                <strong>{template.title}</strong>
                <span>{template.help}</span>
              </button>
            ))}
          </div>
        </>
      )}
    </div>
  );
}
