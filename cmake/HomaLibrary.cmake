# libgodwit-homa: the transport for programs of others. A shared library whose only symbols are those of include/godwit, made of the
# same sources as the program's, compiled once more for it: position-independent, everything else hidden.
file(GLOB homa_library_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/homa/core/*.cc ${PROJECT_SOURCE_DIR}/src/homa/driver/*.cc)
list(FILTER homa_library_sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cc$|/(capture|qdisc)\\.cc$")
add_library(godwit-homa SHARED ${homa_library_sources} src/base/bytes.cc src/base/check.cc src/base/error.cc)
target_include_directories(godwit-homa PRIVATE src PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(godwit-homa PRIVATE fmt::fmt-header-only Threads::Threads)
set_target_properties(godwit-homa PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0 CXX_VISIBILITY_PRESET hidden
                      VISIBILITY_INLINES_HIDDEN ON LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
target_compile_features(godwit-homa INTERFACE cxx_std_23)

# Where it was installed is known from where the file lies.
file(RELATIVE_PATH homa_prefix_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/homa/godwit-homa.pc.in homa/godwit-homa.pc @ONLY)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/homa/godwit-homa-config-version.cmake COMPATIBILITY SameMinorVersion)
file(WRITE ${CMAKE_BINARY_DIR}/homa/godwit-homa-config.cmake
     "include(\${CMAKE_CURRENT_LIST_DIR}/godwit-homa-targets.cmake)\n")
set(homa_package ${CMAKE_INSTALL_LIBDIR}/cmake/godwit-homa)
install(TARGETS godwit-homa EXPORT godwit-homa-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT homa)
install(EXPORT godwit-homa-targets NAMESPACE godwit:: DESTINATION ${homa_package} COMPONENT homa)
install(FILES ${CMAKE_BINARY_DIR}/homa/godwit-homa-config.cmake ${CMAKE_BINARY_DIR}/homa/godwit-homa-config-version.cmake
        DESTINATION ${homa_package} COMPONENT homa)
install(FILES ${CMAKE_BINARY_DIR}/homa/godwit-homa.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT homa)
install(FILES include/godwit/homa.h include/godwit/homa.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/godwit COMPONENT homa)
install(FILES man/godwit-homa.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT homa)
install(FILES man/godwit_homa.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT homa)
install(FILES man/godwit_homa.7 DESTINATION ${CMAKE_INSTALL_MANDIR}/man7 COMPONENT homa)
