# The page that `show --html` writes, as a header that cli/graph.c includes.
set(page ${PROJECT_BINARY_DIR}/page/graph_page.h)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/page)
add_custom_command(
    OUTPUT ${page}
    COMMAND ${OX_PYTHON} ${PROJECT_SOURCE_DIR}/cmake/page.py
            ${PROJECT_SOURCE_DIR}/cli/graph.html ${page}
    DEPENDS cmake/page.py cli/graph.html
    COMMENT "Generating graph_page.h")
set_source_files_properties(cli/graph.c PROPERTIES
    COMPILE_OPTIONS "-I${PROJECT_BINARY_DIR}/page" OBJECT_DEPENDS ${page})
