# Three functions of LAPACK are used, which are of some tens of kilobytes with all that they need: where
# there are archives, they become part of the library, which then needs neither LAPACK, BLAS nor
# Fortran at run time. The target `lapack` is either that or the shared libraries.
option(OX_LAPACK "Build with LAPACK; without it methods that solve linear systems are refused" ON)
if(NOT OX_LAPACK)
    add_library(lapack INTERFACE)
    target_compile_definitions(lapack INTERFACE OX_NO_LAPACK)
    return()
endif()
option(OX_STATIC_LAPACK "Link what is used of LAPACK into the library, where archives are there" ON)
pkg_check_modules(LAPACKE REQUIRED IMPORTED_TARGET lapacke)

find_library(LAPACKE_ARCHIVE liblapacke.a)
find_library(LAPACK_ARCHIVE liblapack.a)
find_library(BLAS_ARCHIVE libblas.a)
set(archives ${LAPACKE_ARCHIVE} ${LAPACK_ARCHIVE} ${BLAS_ARCHIVE} m)
if(OX_STATIC_LAPACK AND LAPACKE_ARCHIVE AND LAPACK_ARCHIVE AND BLAS_ARCHIVE)
    # Those of others, such as OpenBLAS, may need more than themselves.
    file(WRITE ${PROJECT_BINARY_DIR}/lapack/main.c "#include <explain/cholesky.h>
        int main(void) { double a[1] = {1}, w[3]; int32_t n[1];
        return !ox_cholesky(a, 1, 1, w, n) || !ox_cholesky_invert(a, 1); }")
    try_compile(LAPACK_ALONE ${PROJECT_BINARY_DIR}/lapack
        SOURCES ${PROJECT_BINARY_DIR}/lapack/main.c ${PROJECT_SOURCE_DIR}/src/explain/cholesky.c
        CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${PROJECT_SOURCE_DIR}/src;${PROJECT_SOURCE_DIR}/include;${LAPACKE_INCLUDE_DIRS}"
        LINK_LIBRARIES ${archives})
endif()

add_library(lapack INTERFACE)
if(LAPACK_ALONE)
    target_include_directories(lapack INTERFACE ${LAPACKE_INCLUDE_DIRS})
    target_link_libraries(lapack INTERFACE ${archives})
    if(NOT APPLE)
        target_link_options(lapack INTERFACE
            "LINKER:--exclude-libs,liblapacke.a:liblapack.a:libblas.a")
    endif()
else()
    target_link_libraries(lapack INTERFACE PkgConfig::LAPACKE)
endif()
