import { TranslationBundle } from '@jupyterlab/translation';
import { ellipsesIcon, UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IModel } from './api';
import { ago, headline, metricName, withInterval } from './format';
import { PanelModel } from './model';
import { RowButton } from './rowParts';
import { MoreButton, SearchBox } from './search';

interface IModelsProps {
  model: PanelModel;
  trans: TranslationBundle;
  /** Open the menu of what can be asked of a model, below the button that was clicked. */
  openMenu: (model: IModel, button: HTMLElement) => void;
}

/** The section of trained models. */
export function Models(props: IModelsProps): React.JSX.Element {
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
              <Row key={one.id} one={one} {...props} />
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

function Row(props: IModelsProps & { one: IModel }): React.JSX.Element {
  const { one, model, trans, openMenu } = props;
  const metric = headline(one.metrics);
  const title = `${one.name} v${one.version}`;
  return (
    <li
      className="jp-MedFusion-row"
      data-model-id={one.id}
      title={ago(one.created_at, model.now)}
    >
      <div className="jp-MedFusion-line">
        <span className="jp-MedFusion-name" title={one.name}>
          {one.name}
        </span>
        <span className="jp-MedFusion-quiet">v{one.version}</span>
        <RowButton
          command="menu"
          icon={ellipsesIcon}
          label={trans.__('More for the model %1', title)}
          opensMenu
          onClick={button => openMenu(one, button)}
        />
      </div>
      <div className="jp-MedFusion-line">
        <span className="jp-MedFusion-words jp-MedFusion-long">
          {metricName(metric)} {withInterval(one.metrics, metric)}
        </span>
        <span className="jp-MedFusion-quiet">{one.training_job_id}</span>
      </div>
    </li>
  );
}
