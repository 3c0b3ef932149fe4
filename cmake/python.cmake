# python_package(VARIABLE NAME): the folder of a Python package, found without importing it.
function(python_package variable name)
    execute_process(
        COMMAND ${OX_PYTHON} -c
            "import importlib.util as u; print(*u.find_spec('${name}').submodule_search_locations)"
        OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    set(${variable} ${folder} PARENT_SCOPE)
endfunction()
