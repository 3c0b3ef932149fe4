# The manual pages and the completions of bash and zsh, written from the tables of options that the
# command line has.
set(manual ${PROJECT_BINARY_DIR}/manual)
add_custom_command(
    OUTPUT ${manual}/man/onnxexplainer.1
    COMMAND ${OX_PYTHON} ${PROJECT_SOURCE_DIR}/cmake/manual.py
            $<TARGET_FILE:onnxexplainer_cli> ${manual}
    DEPENDS cmake/manual.py onnxexplainer_cli
    COMMENT "Generating the manual")
add_custom_target(manual ALL DEPENDS ${manual}/man/onnxexplainer.1)

install(DIRECTORY ${manual}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${manual}/bash/onnxexplainer
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${manual}/zsh/_onnxexplainer
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
