# Arrow, Parquet and Arrow compute as tools/bootstrap.sh unpacked them from the pyarrow wheel.
#
# Defines Arrow::arrow, Arrow::parquet and Arrow::compute; sets ArrowWheel_FOUND, ArrowWheel_VERSION.
# Input: LAMINA_CACHE (cache variable), by default the folder that bootstrap.sh uses.

if(DEFINED ENV{LAMINA_CACHE})
  set(_lamina_cache "$ENV{LAMINA_CACHE}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(_lamina_cache "$ENV{XDG_CACHE_HOME}/laminadb")
else()
  set(_lamina_cache "$ENV{HOME}/.cache/laminadb")
endif()
set(LAMINA_CACHE "${_lamina_cache}" CACHE PATH "What tools/bootstrap.sh prepared")

# NO_DEFAULT_PATH everywhere: an Arrow installed on the system is another version with another ABI.
find_path(ArrowWheel_INCLUDE_DIR arrow/api.h PATHS "${LAMINA_CACHE}/arrow/include" NO_DEFAULT_PATH)
foreach(_library arrow parquet arrow_compute)
  find_library(ArrowWheel_${_library}_LIBRARY ${_library} PATHS "${LAMINA_CACHE}/arrow/lib" NO_DEFAULT_PATH)
endforeach()

if(ArrowWheel_INCLUDE_DIR)
  file(STRINGS "${ArrowWheel_INCLUDE_DIR}/arrow/util/config.h" _version REGEX "ARROW_VERSION_STRING ")
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" ArrowWheel_VERSION "${_version}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ArrowWheel
  REQUIRED_VARS ArrowWheel_arrow_LIBRARY ArrowWheel_parquet_LIBRARY ArrowWheel_arrow_compute_LIBRARY
                ArrowWheel_INCLUDE_DIR
  VERSION_VAR ArrowWheel_VERSION
  REASON_FAILURE_MESSAGE "Run `make setup` (tools/bootstrap.sh) first.")

if(ArrowWheel_FOUND AND NOT TARGET Arrow::arrow)
  # IMPORTED targets are system includes for their users (no warnings from Arrow's headers), and CMake
  # puts the folder of an imported shared library into the run path of what links it.
  foreach(_pair arrow:arrow parquet:parquet compute:arrow_compute)
    string(REPLACE ":" ";" _pair "${_pair}")
    list(GET _pair 0 _target)
    list(GET _pair 1 _library)
    add_library(Arrow::${_target} SHARED IMPORTED)
    set_target_properties(Arrow::${_target} PROPERTIES
      IMPORTED_LOCATION "${ArrowWheel_${_library}_LIBRARY}"
      INTERFACE_INCLUDE_DIRECTORIES "${ArrowWheel_INCLUDE_DIR}")
  endforeach()
  target_link_libraries(Arrow::parquet INTERFACE Arrow::arrow)
  target_link_libraries(Arrow::compute INTERFACE Arrow::arrow)
endif()

mark_as_advanced(ArrowWheel_INCLUDE_DIR ArrowWheel_arrow_LIBRARY ArrowWheel_parquet_LIBRARY
                 ArrowWheel_arrow_compute_LIBRARY)
