/* Drawings of a model's graph: text for Graphviz, and a page that opens offline. */
#ifndef OX_CLI_GRAPH_H
#define OX_CLI_GRAPH_H

#include "cli.h"

#include <stdio.h>

typedef struct ox_drawing {
    const char *title;
    const ox_model *model;
    const ox_report *report; /* NULL: of an explained model, or where there is none */
    bool explained;
} ox_drawing;

/* Writes the graph in Graphviz' language. */
bool ox_graph_dot(FILE *file, const ox_drawing *drawing, ox_error *err);

/* Writes the page. */
bool ox_graph_html(FILE *file, const ox_drawing *drawing, ox_error *err);

#endif
