# One library, one test program and any number of fuzzers per folder of src/: a file's ending says which it belongs to
# (NAME.cc, NAME_test.cc, NAME_fuzz.cc), so that adding a file is all there is to adding it to the build.

find_program(GODWIT_MOLD mold)
find_program(GODWIT_CCACHE ccache)
if(GODWIT_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
if(GODWIT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers need the first setting to be cached at all; by the other two, clones in other folders share the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_PCH_EXTSUM=1 ${GODWIT_CCACHE})
endif()

set(GODWIT_COMMON_HEADERS <algorithm> <chrono> <expected> <functional> <map> <memory> <optional> <span> <string> <string_view>
    <unordered_map> <variant> <vector> <fmt/format.h>)

# A compiled header holds the paths of its folder, so ccache is given a sum of what went into it instead of its bytes: the list
# of headers and the packages they come from. (The compiler and its flags are in every file's key already.)
function(godwit_precompile_headers target)
  target_precompile_headers(${target} PRIVATE ${ARGN})
  execute_process(COMMAND dpkg-query -W libstdc++-12-dev libc6-dev libfmt-dev libboost1.81-dev OUTPUT_VARIABLE packages ERROR_QUIET)
  string(SHA256 sum "${ARGN} ${CMAKE_CXX_COMPILER_VERSION} ${fmt_VERSION} ${packages}")
  set(compiled ${PROJECT_BINARY_DIR}/CMakeFiles/${target}.dir/cmake_pch.hxx)
  file(WRITE ${compiled}.gch.sum ${sum})
  file(WRITE ${compiled}.pch.sum ${sum})
endfunction()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wconversion -Wno-sign-conversion
                    -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 sees uninitialised and null pasts in inlined std::function and std::expected that are not there.
  add_compile_options(-Wno-maybe-uninitialized -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread
                      -Wno-null-dereference)
  add_compile_options(-fpch-preprocess)  # for ccache
else()
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")          # for ccache
  set(CMAKE_CXX_COMPILE_OPTIONS_USE_PCH -include-pch <PCH_FILE>)  # ccache makes no path relative that follows an -Xclang
endif()
if(GODWIT_SANITIZE)
  string(REPLACE ";" "," sanitizers "${GODWIT_SANITIZE}")
  add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${sanitizers})
endif()

function(godwit_sources folder kind out)
  file(GLOB found CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*.cc)
  if(kind STREQUAL "library")
    list(FILTER found EXCLUDE REGEX "_(test|fuzz|bench)\\.cc$|/main\\.cc$")
  else()
    list(FILTER found INCLUDE REGEX "_${kind}\\.cc$")
  endif()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# godwit_library(volume/core deps…) makes godwit_volume_core of src/volume/core; without sources yet, an interface library.
function(godwit_library folder)
  string(REPLACE "/" "_" name ${folder})
  godwit_sources(${folder} library sources)
  if(sources)
    add_library(godwit_${name} STATIC ${sources})
    target_include_directories(godwit_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(godwit_${name} PUBLIC ${ARGN})
    if(folder STREQUAL "base")
      godwit_precompile_headers(godwit_base ${GODWIT_COMMON_HEADERS})
    elseif(folder STREQUAL "host")
      godwit_precompile_headers(godwit_host ${GODWIT_COMMON_HEADERS} <boost/json.hpp>)
    elseif(folder STREQUAL "cli")
      target_precompile_headers(godwit_cli REUSE_FROM godwit_host)
    else()
      target_precompile_headers(godwit_${name} REUSE_FROM godwit_base)
    endif()
  else()
    add_library(godwit_${name} INTERFACE)
    target_include_directories(godwit_${name} INTERFACE ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(godwit_${name} INTERFACE ${ARGN})
  endif()
endfunction()

# godwit_group(image "image_|tree_" deps…) makes godwit_cli_image of those sources of src/cli whose names begin so: whoever needs the
# verbs of one group alone does not build the engines of the others.
function(godwit_group name names)
  get_target_property(all godwit_cli SOURCES)
  set(sources ${all})
  list(FILTER sources INCLUDE REGEX "/src/cli/(${names})[a-z_]*\\.cc$")
  list(REMOVE_ITEM all ${sources})
  set_target_properties(godwit_cli PROPERTIES SOURCES "${all}")
  add_library(godwit_cli_${name} STATIC ${sources})
  target_link_libraries(godwit_cli_${name} PUBLIC godwit_cli ${ARGN})
  target_precompile_headers(godwit_cli_${name} REUSE_FROM godwit_host)
endfunction()

function(godwit_program)
  add_executable(godwit src/cli/main.cc)
  target_link_libraries(godwit PRIVATE godwit_cli_image godwit_cli_homa)
  target_precompile_headers(godwit REUSE_FROM godwit_base)
  install(TARGETS godwit RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endfunction()

# How tests are compiled: cheaply, for most of a build's time goes into them. They are checked by the sanitizers like what they
# test, but optimised nowhere, and their branches are nothing for a fuzzer to count.
function(godwit_test_options target)
  if(GODWIT_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(${target} PRIVATE -O0)
  endif()
  if(GODWIT_FUZZ)
    target_compile_options(${target} PRIVATE -fno-sanitize=fuzzer-no-link)
  endif()
  target_link_libraries(${target} PRIVATE GTest::gtest)
endfunction()

function(godwit_test_headers)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/test_headers.cc CONTENT "")
  add_library(godwit_test_headers OBJECT ${PROJECT_BINARY_DIR}/test_headers.cc)
  godwit_test_options(godwit_test_headers)
  target_link_libraries(godwit_test_headers PRIVATE fmt::fmt)
  godwit_precompile_headers(godwit_test_headers ${GODWIT_COMMON_HEADERS} <gtest/gtest.h>)
endfunction()

# All tests of a folder are one program, so that linking stays cheap; ctest still sees each test. Those of the folders that
# have threads are also built by the target threaded_tests (for ThreadSanitizer).
add_custom_target(threaded_tests)
function(godwit_test folder)
  string(REPLACE "/" "_" name ${folder})
  godwit_sources(${folder} test sources)
  if(sources)
    add_executable(${name}_test ${sources})
    target_link_libraries(${name}_test PRIVATE godwit_${name} GTest::gtest_main ${ARGN})
    target_compile_definitions(${name}_test PRIVATE GODWIT_TESTDATA="${PROJECT_SOURCE_DIR}/src/${folder}/testdata")
    godwit_test_options(${name}_test)
    target_precompile_headers(${name}_test REUSE_FROM godwit_test_headers)
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
    if(folder MATCHES "^(net|store|export|host)$|/driver$")
      add_dependencies(threaded_tests ${name}_test)
    endif()
  endif()
endfunction()

# Every NAME_fuzz.cc below src/ is a libFuzzer program fuzz_NAME, linked with its folder's library; all are the target fuzzers.
# They share the objects of the tests under ASan and UBSan: one build of the libraries serves both.
# Without clang the same source becomes replay_NAME, which gives it the files of fuzz/corpus/NAME: the test corpus.NAME.
function(godwit_fuzz_program prefix source)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" name ${name})
  get_filename_component(folder ${source} DIRECTORY)
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR}/src ${folder})
  string(REPLACE "/" "_" library ${folder})
  add_executable(${prefix}_${name} ${source} ${ARGN})
  target_link_libraries(${prefix}_${name} PRIVATE godwit_${library} godwit_sim)
  set(name ${name} PARENT_SCOPE)
endfunction()

function(godwit_fuzzers)
  add_custom_target(fuzzers)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*_fuzz.cc)
  foreach(source ${found})
    godwit_fuzz_program(fuzz ${source})
    set_target_properties(fuzz_${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers fuzz_${name})
  endforeach()
endfunction()

function(godwit_corpus_tests)
  file(GLOB_RECURSE found CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*_fuzz.cc)
  if(found)
    add_library(godwit_replay OBJECT fuzz/replay_main.cc)
  endif()
  foreach(source ${found})
    godwit_fuzz_program(replay ${source} $<TARGET_OBJECTS:godwit_replay>)
    target_precompile_headers(replay_${name} REUSE_FROM godwit_base)
    add_test(NAME corpus.${name} COMMAND replay_${name} ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
    set_tests_properties(corpus.${name} PROPERTIES TIMEOUT 120)
  endforeach()
endfunction()
