# The command line as a program of Node.js (onnxexplainer.js), and as a module of a page
# (onnxexplainer_page.mjs): a function that makes one with files of its own, and callMain.
set(wasm -sALLOW_MEMORY_GROWTH=1 -sSTACK_SIZE=4MB -sEXIT_RUNTIME=1)
if(EMSCRIPTEN_VERSION VERSION_LESS 3.1.25)
    list(TRANSFORM wasm REPLACE STACK_SIZE TOTAL_STACK)
endif()
target_link_options(onnxexplainer_cli PRIVATE ${wasm} -sNODERAWFS=1 -sENVIRONMENT=node
    -sWASM_ASYNC_COMPILATION=0) # by no fetch, which newer versions of Node.js have, not for files

add_executable(onnxexplainer_page ${cli_sources})
target_compile_options(onnxexplainer_page PRIVATE ${warnings})
target_link_libraries(onnxexplainer_page PRIVATE
    onnxexplainer os PkgConfig::ZIP PkgConfig::PNG PkgConfig::JPEG PkgConfig::ZLIB m)
target_link_options(onnxexplainer_page PRIVATE ${wasm} -sMODULARIZE=1 -sEXPORT_ES6=1
    -sENVIRONMENT=web,worker -sINVOKE_RUN=0 -sFORCE_FILESYSTEM=1
    -sEXPORTED_RUNTIME_METHODS=FS,callMain)
set_target_properties(onnxexplainer_page PROPERTIES SUFFIX .mjs)
