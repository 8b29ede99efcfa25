#include "child.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace {

// An anonymous file in memory whose descriptor is none of the standard three.
class MemoryFile {
public:
  explicit MemoryFile(const char *name) {
    const int created = memfd_create(name, MFD_CLOEXEC);
    if (created < 0)
      return;
    descriptor = fcntl(created, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(created);
  }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;
  ~MemoryFile() {
    if (descriptor >= 0)
      close(descriptor);
  }

  int get() const { return descriptor; }

  bool write(const std::string &text) {
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t count = pwrite(descriptor, text.data() + done, text.size() - done, static_cast<off_t>(done));
      if (count < 0 && errno != EINTR)
        return false;
      if (count > 0)
        done += static_cast<std::size_t>(count);
    }
    return descriptor >= 0;
  }

  std::string read() const {
    const off_t size = lseek(descriptor, 0, SEEK_END);
    std::string text(size > 0 ? static_cast<std::size_t>(size) : 0, '\0');
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t count = pread(descriptor, &text[done], text.size() - done, static_cast<off_t>(done));
      if (count == 0 || (count < 0 && errno != EINTR))
        return {};
      if (count > 0)
        done += static_cast<std::size_t>(count);
    }
    return text;
  }

private:
  int descriptor = -1;
};

// Starts `command`; returns an error number, 0 for none.
int spawn(const std::vector<std::string> &command, const MemoryFile &in, const MemoryFile &out, pid_t &process) {
  std::vector<char *> arguments;
  for (const std::string &argument : command)
    arguments.push_back(const_cast<char *>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  if (const int error = posix_spawn_file_actions_init(&actions))
    return error;
  int error = posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
  if (!error)
    error = posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
  if (!error)
    error = posix_spawnp(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// Waits for `process`; returns how it failed, or nothing.
std::string wait(pid_t process, std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  int status = 0;
  for (;;) {
    const pid_t ended = waitpid(process, &status, WNOHANG);
    if (ended == process)
      break;
    if (ended < 0 && errno != EINTR)
      return std::string("cannot be waited for: ") + std::strerror(errno);
    if (std::chrono::steady_clock::now() >= end) {
      kill(process, SIGKILL);
      while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
      }
      return "took longer than " + std::to_string(limit.count()) + " s";
    }
    usleep(1000);
  }
  if (WIFSIGNALED(status))
    return "was killed by signal " + std::to_string(WTERMSIG(status));
  if (WEXITSTATUS(status) != 0)
    return "ended with exit code " + std::to_string(WEXITSTATUS(status));
  return {};
}

} // namespace

ChildResult runChild(const std::vector<std::string> &command, const std::string &request, std::chrono::seconds limit) {
  MemoryFile in("dtmm-mlir-request"), out("dtmm-mlir-answer");
  if (out.get() < 0 || !in.write(request))
    return {{}, std::string("cannot be given the module: ") + std::strerror(errno)};
  pid_t process;
  if (const int error = spawn(command, in, out, process))
    return {{}, std::string("cannot be started: ") + std::strerror(error)};
  std::string failure = wait(process, limit);
  return {out.read(), std::move(failure)};
}
