# A Cortex-M55 with MVE, and QEMU's board with one.
set(CORE_FLAGS "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard")
set(QEMU_MACHINE mps3-an547)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
