# The kernels that ONNX Runtime loads. What is made of vectors is compiled once
# for each instruction set.
file(GLOB ops_sources CONFIGURE_DEPENDS ops/*.c)
set(vector_sources ops/flows.c ops/axes.c ops/attention_rows.c ops/blocked_rows.c ops/tree_rows.c)
foreach(source ${vector_sources})
    list(REMOVE_ITEM ops_sources ${PROJECT_SOURCE_DIR}/${source})
endforeach()
add_library(onnxexplainer_ops SHARED ${ops_sources})
target_link_libraries(onnxexplainer_ops PRIVATE m)

function(add_flows isa)
    add_library(flows_${isa} OBJECT ${vector_sources})
    target_include_directories(flows_${isa} PRIVATE src)
    string(TOUPPER ${isa} upper)
    target_compile_definitions(flows_${isa} PRIVATE OPS_ISA=${isa} OPS_${upper})
    # Comparisons of numbers that are none need not trap: without it nothing plain is vectorised.
    target_compile_options(flows_${isa} PRIVATE
        ${warnings} -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math ${ARGN})
    target_sources(onnxexplainer_ops PRIVATE $<TARGET_OBJECTS:flows_${isa}>)
endfunction()

add_flows(plain)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    target_compile_definitions(onnxexplainer_ops PRIVATE OPS_X86)
    add_flows(avx2 -mavx2 -mfma)
    add_flows(avx512 -mavx512f -mavx512dq -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    target_compile_definitions(onnxexplainer_ops PRIVATE OPS_ARM)
    add_flows(neon)
endif()
target_include_directories(onnxexplainer_ops PRIVATE src)
target_include_directories(onnxexplainer_ops SYSTEM PRIVATE ${ORT_INCLUDE})
target_compile_options(onnxexplainer_ops PRIVATE ${warnings})
