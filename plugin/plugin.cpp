// The plug-in of stock iree-compile: hands the module, before IREE's own passes, to those of dtmm-mlir.
//
// They are Python and run in a child process. It is sent the module as bytecode and answers with one of
//   unchanged NUL
//   module NUL <bytecode>
//   ( error NUL <location> NUL <message> NUL )+
#include "abi.h"
#include "child.h"

#include <cstdio>
#include <dlfcn.h>
#include <string>
#include <unistd.h>

namespace {

constexpr std::string_view kName = "dtmm_mlir";
constexpr const char *kPythonVariable = "DTMM_MLIR_PYTHON";
constexpr const char *kTimeoutVariable = "DTMM_MLIR_TIMEOUT";
constexpr long kTimeoutSeconds = 600;

MlirStringRef toRef(std::string_view text) { return {text.data(), text.size()}; }
std::string_view toView(MlirStringRef text) { return {text.data, text.length}; }
bool startsWith(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// The interpreter of the environment this library is installed in: ENV/lib/pythonX.Y/site-packages/dtmm_mlir/plugin.
std::string findPython() {
  if (const char *given = std::getenv(kPythonVariable); given && *given)
    return given;
  Dl_info library;
  if (dladdr(&kName, &library) && library.dli_fname) {
    std::string folder = library.dli_fname;
    for (int level = 0; level < 6 && !folder.empty(); ++level)
      folder.resize(folder.rfind('/') == std::string::npos ? 0 : folder.rfind('/'));
    const std::string python = folder + "/bin/python3";
    if (access(python.c_str(), X_OK) == 0)
      return python;
  }
  return "python3";
}

std::chrono::seconds timeLimit() {
  const char *given = std::getenv(kTimeoutVariable);
  const long seconds = given ? std::strtol(given, nullptr, 10) : 0;
  return std::chrono::seconds(seconds > 0 ? seconds : kTimeoutSeconds);
}

void emitError(MlirLocation location, std::string_view message) {
  mlirEmitError(location, std::string(message).c_str());
}

// What a walk over the module finds.
struct Contents {
  bool candidates = false; // an op that our passes may capture
  bool unknown = false;    // an op that neither IREE nor we know; was reported
};

MlirWalkResult inspect(MlirOperation op, void *data) {
  auto *contents = static_cast<Contents *>(data);
  const std::string_view name = toView(mlirIdentifierStr(mlirOperationGetName(op)));
  const bool ours = startsWith(name, "filterlet.");
  if (ours || startsWith(name, "torch.") || name.find("conv") != name.npos)
    contents->candidates = true;
  if (!ours && !mlirContextIsRegisteredOperation(mlirOperationGetContext(op), toRef(name))) {
    contents->unknown = true;
    emitError(mlirOperationGetLocation(op), "'" + std::string(name) + "': no such operation is registered");
  }
  return MlirWalkResultAdvance;
}

// Splits the text up to the next NUL off `text`.
std::string_view takeField(std::string_view &text) {
  const std::size_t end = text.find('\0');
  const std::string_view field = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  return field;
}

void replaceBody(MlirOperation module, MlirModule replacement) {
  const MlirBlock body = mlirRegionGetFirstBlock(mlirOperationGetRegion(module, 0));
  for (MlirOperation op; (op = mlirBlockGetFirstOperation(body)).ptr;) {
    mlirOperationRemoveFromParent(op);
    mlirOperationDestroy(op);
  }
  for (MlirOperation op; (op = mlirBlockGetFirstOperation(mlirModuleGetBody(replacement))).ptr;) {
    mlirOperationRemoveFromParent(op);
    mlirBlockAppendOwnedOperation(body, op);
  }
}

// Emits the errors that `answer` consists of; false if it is something else.
bool emitErrors(std::string_view answer, MlirOperation module) {
  bool any = false;
  while (!answer.empty()) {
    if (takeField(answer) != "error")
      return any;
    const MlirAttribute place = mlirAttributeParseGet(mlirOperationGetContext(module), toRef(takeField(answer)));
    emitError(place.ptr ? mlirLocationFromAttribute(place) : mlirOperationGetLocation(module), takeField(answer));
    any = true;
  }
  return any;
}

// Takes the answer over into `module`; false after an error was emitted.
bool apply(const ChildResult &child, const std::string &python, MlirOperation module) {
  const auto fail = [&](const std::string &reason) {
    emitError(mlirOperationGetLocation(module), "dtmm-mlir plug-in: the passes, run by '" + python + "', " + reason);
    return false;
  };
  std::string_view answer = child.answer;
  if (emitErrors(answer, module))
    return false;
  if (!child.failure.empty())
    return fail(child.failure + "; " + kPythonVariable +
                " names an interpreter that has dtmm-mlir, " + kTimeoutVariable + " the time limit in seconds");
  const std::string_view kind = takeField(answer);
  if (kind == "unchanged" && answer.empty())
    return true;
  if (kind != "module")
    return fail(std::string("gave no valid answer; ") + kPythonVariable + " must name a Python interpreter");
  const MlirModule replacement = mlirModuleCreateParse(mlirOperationGetContext(module), toRef(answer));
  if (!replacement.ptr)
    return fail("returned a module that cannot be read");
  replaceBody(module, replacement);
  mlirModuleDestroy(replacement);
  return true;
}

bool lowerFilterlets(MlirOperation module) {
  Contents contents;
  mlirOperationWalk(module, inspect, &contents, MlirWalkPreOrder);
  if (contents.unknown || !contents.candidates)
    return !contents.unknown;
  std::string bytecode;
  const auto append = [](MlirStringRef part, void *text) { static_cast<std::string *>(text)->append(toView(part)); };
  mlirOperationWriteBytecode(module, append, &bytecode);
  const std::string python = findPython();
  // -P: what lies in the current folder must not be imported.
  return apply(runChild({python, "-P", "-m", "dtmm_mlir.plugin.child"}, bytecode, timeLimit()), python, module);
}

MlirPass createPass() {
  static const MlirTypeID id = mlirTypeIDAllocatorAllocateTypeID(mlirTypeIDAllocatorCreate());
  MlirExternalPassCallbacks callbacks = {};
  callbacks.construct = callbacks.destruct = [](void *) {};
  callbacks.initialize = [](MlirContext, void *) { return MlirLogicalResult{1}; };
  callbacks.clone = [](void *data) { return data; };
  callbacks.run = [](MlirOperation module, MlirExternalPass pass, void *) {
    if (!lowerFilterlets(module))
      mlirExternalPassSignalFailure(pass);
  };
  return mlirCreateExternalPass(id, toRef("FilterletCompile"), toRef("filterlet-compile"),
                                toRef("Captures and lowers convolutions pruned by filterlets"),
                                toRef("builtin.module"), 0, nullptr, callbacks, nullptr);
}

class Session : public iree::Session {
  iree::LogicalResult onActivate() override {
    // Lets filterlet.* be parsed; all other unknown ops are reported by the pass.
    mlirContextSetAllowUnregisteredDialects(MlirContext{context}, true);
    return {true};
  }
  void extendInputConversionPreprocessingPassPipeline(iree::OpPassManager &passes, int) override {
    mlirOpPassManagerAddOwnedPass(MlirOpPassManager{&passes}, createPass());
  }
};

class Registration : public iree::Registration {
  using iree::Registration::Registration;
  iree::ActivationPolicy getActivationPolicy() override { return iree::kByDefault; }
  std::unique_ptr<iree::Session> createUninitializedSession(iree::OptionsBinder &) override {
    return std::make_unique<Session>();
  }
};

bool registerPlugin(iree::Registrar *registrar) {
  std::unique_ptr<iree::Registration> registration = std::make_unique<Registration>(kName);
  if (registrar->add(registration))
    return true;
  std::fprintf(stderr, "error: the plug-in of dtmm-mlir supports IREE %s; this is another build of it.\n",
               iree::kVersion);
  return false;
}

} // namespace

extern "C" __attribute__((visibility("default"))) const iree::PluginInfo *iree_get_compiler_plugin_info() {
  static const iree::PluginInfo info = {iree::kAbiHash, kName.data(), "1", registerPlugin};
  return &info;
}
