# The Python package: what of it is generated, and, where scikit-build-core makes a wheel (SKBUILD),
# what lies where in it. Wheels hold no symbolic links, so that libraries go without versions.
set(abi ${PROJECT_BINARY_DIR}/python/_abi.py)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/python)
add_custom_command(
    OUTPUT ${abi}
    COMMAND ${OX_PYTHON} ${PROJECT_SOURCE_DIR}/python/generate.py
            ${PROJECT_SOURCE_DIR}/include/onnxexplainer.h $<TARGET_FILE:onnxexplainer_cli> ${abi}
    DEPENDS python/generate.py include/onnxexplainer.h onnxexplainer_cli
    COMMENT "Generating _abi.py")
add_custom_target(abi ALL DEPENDS ${abi})

if(SKBUILD)
    set_property(TARGET onnxexplainer PROPERTY VERSION)
    set_property(TARGET onnxexplainer PROPERTY SOVERSION)
    set_target_properties(onnxexplainer_cli PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
    install(FILES ${abi} DESTINATION onnxexplainer)
    install(TARGETS onnxexplainer onnxexplainer_ops LIBRARY DESTINATION onnxexplainer/lib)
    install(TARGETS onnxexplainer_cli RUNTIME DESTINATION onnxexplainer/bin)
endif()
