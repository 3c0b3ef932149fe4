/* What tools/web put beside the page. */

/* Whether explainer/ is there, which explains models that are dropped. */
export const EXPLAINS = false;
