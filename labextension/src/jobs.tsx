import { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IJob, STATUSES } from './api';
import { withoutStart } from './format';
import { JobRow } from './jobRow';
import { PanelModel } from './model';
import { MoreButton, quietly, SearchBox } from './search';

interface IJobsProps {
  model: PanelModel;
  trans: TranslationBundle;
  ask: (command: string, jobId: string) => void;
  openMenu: (job: IJob, button: HTMLElement) => void;
  openNotebook: (path: string) => void;
}

/** The section of training jobs. */
export function Jobs(props: IJobsProps): React.JSX.Element {
  const { model, trans } = props;
  return (
    <UseSignal signal={model.changed}>
      {() => (
        <>
          <div className="jp-MedFusion-tools">
            <SearchBox
              value={model.search}
              label={trans.__('Search jobs')}
              trans={trans}
              find={words => model.find(words, model.status)}
            />
            <select
              value={model.status}
              aria-label={trans.__('Status of jobs')}
              onChange={event =>
                quietly(model.find(model.search, event.target.value))
              }
            >
              <option value="">{trans.__('all')}</option>
              {STATUSES.map(status => (
                <option key={status} value={status}>
                  {status}
                  {model.counts[status] ? ` (${model.counts[status]})` : ''}
                </option>
              ))}
            </select>
          </div>
          {model.trouble && (
            <div className="jp-MedFusion-trouble" role="status">
              {model.trouble}
            </div>
          )}
          <ul
            className="jp-MedFusion-list"
            role="list"
            aria-label={trans.__('Jobs')}
          >
            {model.jobs.map(job => (
              <Row key={job.job_id} job={job} {...props} />
            ))}
          </ul>
          {model.jobsLoaded && model.jobs.length === 0 && <Empty {...props} />}
          {model.moreJobs && (
            <MoreButton trans={trans} more={() => model.showMoreJobs()} />
          )}
        </>
      )}
    </UseSignal>
  );
}

/** A job, and below a cross-validation that is open its folds. */
function Row(
  props: IJobsProps & { job: IJob; whole?: IJob }
): React.JSX.Element {
  const { model, job, whole, trans, ask, openMenu } = props;
  const folds = model.folds(job.job_id);
  return (
    <JobRow
      job={job}
      name={whole ? withoutStart(job.name, whole.name) : job.name}
      now={model.now}
      asked={model.asked(job.job_id)}
      spark={model.spark(job)}
      trans={trans}
      ask={ask}
      openMenu={openMenu}
      foldsShown={folds !== undefined}
      toggleFolds={() => quietly(model.toggleFolds(job.job_id))}
    >
      {folds?.map(fold => (
        <Row {...props} key={fold.job_id} job={fold} whole={job} />
      ))}
    </JobRow>
  );
}

function Empty(props: IJobsProps): React.JSX.Element {
  const { model, trans, openNotebook } = props;
  const quickstart = model.quickstart;
  if (model.search || model.status) {
    return (
      <div className="jp-MedFusion-empty">
        {trans.__('No job is like that.')}
      </div>
    );
  }
  return (
    <div className="jp-MedFusion-empty">
      <div>{trans.__('No training jobs yet.')}</div>
      {quickstart !== null && (
        <button
          className="jp-MedFusion-textButton"
          onClick={() => openNotebook(quickstart)}
        >
          {trans.__('Open the quickstart notebook')}
        </button>
      )}
    </div>
  );
}
