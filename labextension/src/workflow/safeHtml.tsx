import * as React from 'react';

const ALLOWED = new Set(
  (
    'b br caption code div em figcaption figure h1 h2 h3 h4 h5 h6 hr i li ol p pre small span strong sub sup ' +
    'table tbody td tfoot th thead tr ul'
  ).split(' ')
);
/** Elements whose text is no text for people. */
const SILENT = new Set(['script', 'style', 'template', 'noscript', 'title']);
const NUMBERS = { colspan: 'colSpan', rowspan: 'rowSpan' } as const;

/**
 * HTML of a node's output, built anew of the elements that show text, tables and pictures that it holds itself. No other
 * attribute is kept but the spans of a table's cells, so there is nothing that could run, load or look like a part of the page.
 */
export function safeHtml(html: string): React.ReactNode {
  const page = new DOMParser().parseFromString(html, 'text/html');
  return children(page.body);
}

function children(element: Element): React.ReactNode[] {
  return [...element.childNodes].map((node, k) => {
    if (node.nodeType === Node.TEXT_NODE) {
      return node.textContent;
    }
    if (!(node instanceof Element)) {
      return null;
    }
    const name = node.localName;
    if (SILENT.has(name)) {
      return null;
    }
    if (name === 'img') {
      return image(node, k);
    }
    if (!ALLOWED.has(name)) {
      return <React.Fragment key={k}>{children(node)}</React.Fragment>;
    }
    const spans: { [name: string]: number } = {};
    for (const [attribute, property] of Object.entries(NUMBERS)) {
      const span = Number(node.getAttribute(attribute));
      if (span > 1 && span < 1000) {
        spans[property] = span;
      }
    }
    const inside = node.hasChildNodes() ? children(node) : undefined;
    return React.createElement(name, { ...spans, key: k }, inside);
  });
}

function image(element: Element, key: number): React.ReactNode {
  const source = element.getAttribute('src') ?? '';
  return /^data:image\/(png|jpeg|gif|webp);base64,/.test(source) ? (
    <img key={key} src={source} alt={element.getAttribute('alt') ?? ''} />
  ) : null;
}
