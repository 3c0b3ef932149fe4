# Finds the C header of ONNX Runtime (its folder: ORT_INCLUDE) and its library (ORT_LIBRARY). The
# library is opened at run time, never linked; the path found here is the last that is tried then.
# In this order: ONNXRUNTIME_ROOT, pkg-config, a CMake package, then the library of Python's
# onnxruntime package with the header that tools/onnxruntime-header fetches.

# Of another machine the header does (ORT_INCLUDE), which is the same for all; a library may be given
# (ORT_LIBRARY), to be run by its emulator.
if(CMAKE_CROSSCOMPILING)
    if(NOT ORT_INCLUDE)
        message(FATAL_ERROR "ORT_INCLUDE names the folder of onnxruntime_c_api.h")
    endif()
    return()
endif()

macro(find_onnxruntime)
    find_path(ORT_INCLUDE onnxruntime_c_api.h
        PATHS ${ARGN} NO_DEFAULT_PATH
        PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session)
    find_library(ORT_LIBRARY onnxruntime
        PATHS ${ARGN} NO_DEFAULT_PATH PATH_SUFFIXES lib lib64)
endmacro()

set(root "${ONNXRUNTIME_ROOT}")
if(NOT root)
    set(root "$ENV{ONNXRUNTIME_ROOT}")
endif()
# What an earlier run found may be gone, or no longer wanted.
if(root OR NOT EXISTS "${ORT_LIBRARY}")
    unset(ORT_LIBRARY CACHE)
endif()
if(root OR NOT EXISTS "${ORT_INCLUDE}/onnxruntime_c_api.h")
    unset(ORT_INCLUDE CACHE)
endif()

if(root)
    find_onnxruntime("${root}")
    if(NOT ORT_INCLUDE OR NOT ORT_LIBRARY)
        message(FATAL_ERROR "no onnxruntime_c_api.h or no libonnxruntime.so "
                            "in ONNXRUNTIME_ROOT (${root})")
    endif()
endif()

if(NOT ORT_INCLUDE)
    pkg_check_modules(ORT_PC QUIET libonnxruntime)
    if(ORT_PC_FOUND)
        pkg_get_variable(ORT_PC_INCLUDEDIR libonnxruntime includedir)
        pkg_get_variable(ORT_PC_LIBDIR libonnxruntime libdir)
        find_onnxruntime(${ORT_PC_INCLUDE_DIRS} ${ORT_PC_INCLUDEDIR} ${ORT_PC_LIBDIR})
    endif()
endif()

if(NOT ORT_INCLUDE)
    find_package(onnxruntime CONFIG QUIET)
    if(onnxruntime_FOUND)
        get_target_property(folders onnxruntime::onnxruntime INTERFACE_INCLUDE_DIRECTORIES)
        get_target_property(library onnxruntime::onnxruntime LOCATION)
        cmake_path(GET library PARENT_PATH library)
        find_onnxruntime(${folders} ${library})
    endif()
endif()

if(NOT ORT_LIBRARY)
    python_package(package onnxruntime)
    # The wheel's file carries its version, and no symbolic link to it.
    file(GLOB library ${package}/capi/libonnxruntime.so.* ${package}/capi/libonnxruntime.*.dylib)
    if(NOT library)
        message(FATAL_ERROR "no libonnxruntime in ${package}/capi; set ONNXRUNTIME_ROOT")
    endif()
    set(ORT_LIBRARY ${library} CACHE FILEPATH "Library of ONNX Runtime" FORCE)
endif()

if(NOT ORT_INCLUDE)
    set(fetched ${PROJECT_SOURCE_DIR}/build/onnxruntime)
    if(NOT EXISTS ${fetched}/include/onnxruntime_c_api.h)
        message(STATUS "Fetching the header of ONNX Runtime")
        execute_process(COMMAND ${PROJECT_SOURCE_DIR}/tools/onnxruntime-header ${fetched}
                        COMMAND_ERROR_IS_FATAL ANY)
    endif()
    find_onnxruntime(${fetched})
endif()

message(STATUS "ONNX Runtime: ${ORT_LIBRARY}, header in ${ORT_INCLUDE}")
