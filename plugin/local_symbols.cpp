#include "local_symbols.h"

#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

// A file's bytes, read as they are asked for.
class MappedFile {
public:
  explicit MappedFile(const char *path) {
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (descriptor >= 0 && fstat(descriptor, &status) == 0 && status.st_size > 0) {
      void *mapped = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0);
      if (mapped != MAP_FAILED) {
        data = static_cast<const char *>(mapped);
        size = static_cast<std::size_t>(status.st_size);
      }
    }
    if (descriptor >= 0)
      close(descriptor);
  }
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  ~MappedFile() {
    if (data)
      munmap(const_cast<char *>(data), size);
  }

  // `count` objects from `offset` on; null where the file does not hold them.
  template <typename T> const T *at(std::uint64_t offset, std::uint64_t count = 1) const {
    const bool inside = offset <= size && count <= (size - offset) / sizeof(T);
    return data && inside ? reinterpret_cast<const T *>(data + offset) : nullptr;
  }

private:
  const char *data = nullptr;
  std::size_t size = 0;
};

const Elf64_Shdr *findSection(const MappedFile &file, const Elf64_Ehdr &header, std::uint32_t type) {
  const auto *sections = file.at<Elf64_Shdr>(header.e_shoff, header.e_shnum);
  for (std::uint16_t i = 0; sections && i < header.e_shnum; ++i)
    if (sections[i].sh_type == type)
      return &sections[i];
  return nullptr;
}

// Address of the only symbol called `name`, relative to where the file is loaded; 0 for none.
std::uint64_t symbolValue(const MappedFile &file, std::string_view name) {
  const auto *header = file.at<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64)
    return 0;
  const Elf64_Shdr *table = findSection(file, *header, SHT_SYMTAB);
  const auto *section = table ? file.at<Elf64_Shdr>(header->e_shoff + table->sh_link * sizeof(Elf64_Shdr)) : nullptr;
  if (!section)
    return 0;
  const char *names = file.at<char>(section->sh_offset, section->sh_size);
  const std::uint64_t count = table->sh_size / sizeof(Elf64_Sym);
  const auto *symbols = file.at<Elf64_Sym>(table->sh_offset, count);
  if (!names || !symbols)
    return 0;
  // The name is looked for once in the text of all names; what is compared then are numbers.
  const std::string whole = '\0' + std::string(name) + '\0';
  const void *found = memmem(names, section->sh_size, whole.data(), whole.size());
  if (!found)
    return 0;
  const auto position = static_cast<std::uint64_t>(static_cast<const char *>(found) + 1 - names);
  std::uint64_t value = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (symbols[i].st_name != position || !symbols[i].st_value)
      continue;
    if (value)
      return 0;
    value = symbols[i].st_value;
  }
  return value;
}

} // namespace

void *findLocalSymbol(const void *inside, std::string_view name) {
  Dl_info library;
  if (!dladdr(inside, &library) || !library.dli_fname)
    return nullptr;
  const std::uint64_t value = symbolValue(MappedFile(library.dli_fname), name);
  return value ? static_cast<char *>(library.dli_fbase) + value : nullptr;
}
