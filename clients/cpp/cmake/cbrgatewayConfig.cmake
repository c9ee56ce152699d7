include(CMakeFindDependencyMacro)
find_dependency(Protobuf 3.21)
find_dependency(gRPC 1.51 CONFIG)
include(${CMAKE_CURRENT_LIST_DIR}/cbrgatewayTargets.cmake)
