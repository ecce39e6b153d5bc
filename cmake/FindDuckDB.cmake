# DuckDB as tools/bootstrap.sh unpacked it: headers (also the internal ones) and the shared library of one source.
# Gives DuckDB::duckdb. Only src/sql links it.
set(duckdb_root "${LAMINA_CACHE}/duckdb")
find_library(DuckDB_LIBRARY duckdb PATHS "${duckdb_root}/lib" NO_DEFAULT_PATH)
find_path(DuckDB_INCLUDE_DIR duckdb.hpp PATHS "${duckdb_root}/include" NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(DuckDB REQUIRED_VARS DuckDB_LIBRARY DuckDB_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run tools/bootstrap.sh")
if(DuckDB_FOUND AND NOT TARGET DuckDB::duckdb)
  # The library has no SONAME: the linker would note the path given to it. IMPORTED_NO_SONAME makes it look by name.
  add_library(DuckDB::duckdb SHARED IMPORTED)
  set_target_properties(DuckDB::duckdb PROPERTIES
    IMPORTED_LOCATION "${DuckDB_LIBRARY}"
    IMPORTED_NO_SONAME TRUE)
  target_include_directories(DuckDB::duckdb SYSTEM INTERFACE
    "${DuckDB_INCLUDE_DIR}")
endif()
