# The operating system's part, as an archive that library and command line have each their own of.
if(WIN32)
    file(GLOB os_sources CONFIGURE_DEPENDS os/windows_*.c)
else()
    file(GLOB os_sources CONFIGURE_DEPENDS os/posix_*.c)
endif()
add_library(os STATIC ${os_sources})
target_include_directories(os PUBLIC os)
target_compile_options(os PRIVATE ${warnings})
if(NOT EMSCRIPTEN) # one thread does for `explain`; more need pages that are isolated
    target_link_libraries(os PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
endif()
