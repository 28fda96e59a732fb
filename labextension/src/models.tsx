import { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IModel } from './api';
import { ago, headline, metricName, withInterval } from './format';
import { PanelModel } from './model';
import { MoreButton, SearchBox } from './search';

/** The section of trained models. */
export function Models(props: {
  model: PanelModel;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { model, trans } = props;
  return (
    <UseSignal signal={model.changed}>
      {() => (
        <>
          <div className="jp-MedFusion-tools">
            <SearchBox
              value={model.modelSearch}
              label={trans.__('Search models')}
              trans={trans}
              find={words => model.findModels(words)}
            />
          </div>
          <ul
            className="jp-MedFusion-list"
            role="list"
            aria-label={trans.__('Models')}
          >
            {model.models.map(one => (
              <ModelRow key={one.id} model={one} now={model.now} />
            ))}
          </ul>
          {model.modelsLoaded && model.models.length === 0 && (
            <div className="jp-MedFusion-empty">
              {model.modelSearch
                ? trans.__('No model is like that.')
                : trans.__('No models yet: a job leaves one when it ends.')}
            </div>
          )}
          {model.moreModels && (
            <MoreButton trans={trans} more={() => model.showMoreModels()} />
          )}
        </>
      )}
    </UseSignal>
  );
}

function ModelRow(props: { model: IModel; now: number }): React.JSX.Element {
  const { model } = props;
  const metric = headline(model.metrics);
  return (
    <li
      className="jp-MedFusion-row"
      data-model-id={model.id}
      title={ago(model.created_at, props.now)}
    >
      <div className="jp-MedFusion-line">
        <span className="jp-MedFusion-words" title={model.name}>
          <strong>{model.name}</strong> v{model.version}
        </span>
        <span className="jp-MedFusion-quiet">{model.training_job_id}</span>
      </div>
      <div className="jp-MedFusion-line">
        <span className="jp-MedFusion-words">
          {metricName(metric)} {withInterval(model.metrics, metric)}
        </span>
      </div>
    </li>
  );
}
