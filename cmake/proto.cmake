# Compiles the onnx-ml.proto that Python's onnx package ships, with protobuf-c. The header lies in
# OX_PROTO_DIR; the object library `proto` holds the code.
set(OX_PROTO_DIR ${PROJECT_BINARY_DIR}/proto)
find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_GEN_C protoc-gen-c REQUIRED)

python_package(onnx_package onnx)

set(generated ${OX_PROTO_DIR}/onnx-ml.pb-c.c ${OX_PROTO_DIR}/onnx-ml.pb-c.h)
file(MAKE_DIRECTORY ${OX_PROTO_DIR})
add_custom_command(
    OUTPUT ${generated}
    COMMAND ${PROTOC} --plugin=${PROTOC_GEN_C} --c_out=${OX_PROTO_DIR} -I ${onnx_package}
            onnx-ml.proto
    DEPENDS ${onnx_package}/onnx-ml.proto
    COMMENT "Generating onnx-ml.pb-c.c")

add_library(proto OBJECT ${generated})
target_compile_options(proto PRIVATE -w)
target_link_libraries(proto PRIVATE PkgConfig::PROTOBUF_C)
