import { LabIcon } from '@jupyterlab/ui-components';

import source from '../style/medfusion.svg';

/** Two circles that overlap, over a pulse: what is fused. */
export const medfusionIcon = new LabIcon({
  name: 'medfusion:icon',
  svgstr: source
});
