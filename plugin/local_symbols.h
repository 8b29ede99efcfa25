// Finds functions of a loaded library that it does not export.
#pragma once

#include <string_view>

// The function called `name` (mangled) in the library that `inside` points into; null unless its symbol table has
// exactly one.
void *findLocalSymbol(const void *inside, std::string_view name);
