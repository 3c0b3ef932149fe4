# Writes the table of operator schemas from Python's onnx and onnxruntime packages. It lies in
# OX_SCHEMA_DIR, seen by src/model/schema.c alone.
set(OX_SCHEMA_DIR ${PROJECT_BINARY_DIR}/schema)
set(OX_SCHEMA_TABLE ${OX_SCHEMA_DIR}/schema_table.h)
python_package(onnxruntime_package onnxruntime)

file(MAKE_DIRECTORY ${OX_SCHEMA_DIR})
add_custom_command(
    OUTPUT ${OX_SCHEMA_TABLE}
    COMMAND ${OX_PYTHON} ${PROJECT_SOURCE_DIR}/cmake/schemas.py
            ${PROJECT_SOURCE_DIR}/src/base ${OX_SCHEMA_TABLE}
    DEPENDS ${PROJECT_SOURCE_DIR}/cmake/schemas.py ${PROJECT_SOURCE_DIR}/src/base/ours.h
            ${PROJECT_SOURCE_DIR}/src/base/flows.inc
            ${PROJECT_SOURCE_DIR}/src/base/operators.inc
            ${onnx_package}/version.py ${onnxruntime_package}/__init__.py
    COMMENT "Generating schema_table.h")

add_custom_target(schemas DEPENDS ${OX_SCHEMA_TABLE})
