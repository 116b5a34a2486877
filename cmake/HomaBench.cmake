# What Homa is measured with and beside: programs of `make bench`. A peer that is not found at configuration is not built, and its
# place in the tables says so.
add_executable(bench_homa_core EXCLUDE_FROM_ALL bench/homa_core.cc)
target_link_libraries(bench_homa_core PRIVATE godwit_homa_core)
add_executable(bench_homa_incast EXCLUDE_FROM_ALL bench/homa_incast.cc)
target_link_libraries(bench_homa_incast PRIVATE godwit_homa_driver)

add_executable(bench_homa_peers EXCLUDE_FROM_ALL bench/homa_peers.cc)
target_link_libraries(bench_homa_peers PRIVATE Threads::Threads)
pkg_check_modules(ZMQ QUIET IMPORTED_TARGET libzmq)
if(ZMQ_FOUND)
  target_link_libraries(bench_homa_peers PRIVATE PkgConfig::ZMQ)
  target_compile_definitions(bench_homa_peers PRIVATE GODWIT_BENCH_ZMQ)
endif()

# Everything that was found: what bench/run builds.
add_custom_target(bench_homa DEPENDS bench_homa_core bench_homa_incast bench_homa_peers)

function(godwit_homa_peer name)
  add_executable(bench_homa_peer_${name} EXCLUDE_FROM_ALL bench/homa_peer_${name}.cc ${ARGN})
  # Their headers are not written for our warnings.
  target_compile_options(bench_homa_peer_${name} PRIVATE -w)
  target_link_libraries(bench_homa_peer_${name} PRIVATE Threads::Threads)
  add_dependencies(bench_homa bench_homa_peer_${name})
endfunction()

pkg_check_modules(GRPC QUIET IMPORTED_TARGET grpc++)
if(GRPC_FOUND)
  godwit_homa_peer(grpc)
  target_link_libraries(bench_homa_peer_grpc PRIVATE PkgConfig::GRPC)
endif()

pkg_check_modules(ENET QUIET IMPORTED_TARGET libenet)
if(ENET_FOUND)
  godwit_homa_peer(enet)
  target_link_libraries(bench_homa_peer_enet PRIVATE PkgConfig::ENET)
endif()

find_path(NNG_HEADERS nng/nng.h)
find_library(NNG_LIBRARY nng)
if(NNG_HEADERS AND NNG_LIBRARY)
  godwit_homa_peer(nng)
  target_link_libraries(bench_homa_peer_nng PRIVATE ${NNG_LIBRARY})
endif()

pkg_check_modules(CAPNP QUIET IMPORTED_TARGET capnp-rpc)
find_program(CAPNP_COMPILER capnp)
if(CAPNP_FOUND AND CAPNP_COMPILER)
  set(schema ${CMAKE_CURRENT_SOURCE_DIR}/bench/homa_peer_capnp.capnp)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/bench_capnp)
  add_custom_command(
    OUTPUT ${generated}/homa_peer_capnp.capnp.c++ ${generated}/homa_peer_capnp.capnp.h
    COMMAND ${CMAKE_COMMAND} -E make_directory ${generated}
    COMMAND ${CAPNP_COMPILER} compile --src-prefix=${CMAKE_CURRENT_SOURCE_DIR}/bench -oc++:${generated} ${schema}
    DEPENDS ${schema})
  godwit_homa_peer(capnp ${generated}/homa_peer_capnp.capnp.c++)
  target_include_directories(bench_homa_peer_capnp PRIVATE ${generated})
  target_link_libraries(bench_homa_peer_capnp PRIVATE PkgConfig::CAPNP)
endif()
