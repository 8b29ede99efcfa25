// The plug-in of stock iree-compile: hands the module, before IREE's own passes, to those of dtmm-mlir.
//
// They are Python and run in a child process, which is told the pass and its options. It is sent the module as bytecode
// and answers with
//   ( (error | warning | remark) NUL <location> NUL <message> NUL )*
//   ( unchanged NUL | module NUL <bytecode> )                         unless there was an error
#include "abi.h"
#include "child.h"
#include "local_symbols.h"

#include <cstdio>
#include <dlfcn.h>
#include <string>
#include <unistd.h>

namespace {

constexpr std::string_view kName = "dtmm_mlir";
constexpr std::string_view kDialect = "filterlet.";
// The passes of dtmm-mlir by name; the first, run by default, is all the others in turn.
constexpr const char *kPasses[] = {"filterlet-compile", "filterlet-torch-to-tosa",   "filterlet-merge-tables",
                                   "filterlet-capture", "filterlet-remove-channels", "filterlet-plan",
                                   "filterlet-pack",    "filterlet-lower",           "filterlet-verify"};
constexpr const char *kPythonVariable = "DTMM_MLIR_PYTHON";
constexpr const char *kTimeoutVariable = "DTMM_MLIR_TIMEOUT";
constexpr long kTimeoutSeconds = 600;

MlirStringRef toRef(std::string_view text) { return {text.data(), text.size()}; }
std::string_view toView(MlirStringRef text) { return {text.data, text.length}; }
bool startsWith(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// The folder that this library is in: ENV/lib/pythonX.Y/site-packages/dtmm_mlir/plugin.
std::string findFolder() {
  Dl_info library;
  const std::string file = dladdr(&kName, &library) && library.dli_fname ? library.dli_fname : "";
  return file.substr(0, file.rfind('/') == file.npos ? 0 : file.rfind('/'));
}

// The interpreter of the environment that this library is installed in.
std::string findPython() {
  if (const char *given = std::getenv(kPythonVariable); given && *given)
    return given;
  const std::string python = findFolder() + "/../../../../../bin/python3";
  return access(python.c_str(), X_OK) == 0 ? python : "python3";
}

std::chrono::seconds timeLimit() {
  const char *given = std::getenv(kTimeoutVariable);
  const long seconds = given ? std::strtol(given, nullptr, 10) : 0;
  return std::chrono::seconds(seconds > 0 ? seconds : kTimeoutSeconds);
}

void emitError(MlirLocation location, std::string_view message) {
  mlirEmitError(location, std::string(message).c_str());
}

// Whether our passes may have something to do with `op`: one of ours, a convolution, or one of torch's that may be one.
MlirWalkResult findCandidate(MlirOperation op, void *found) {
  const std::string_view name = toView(mlirIdentifierStr(mlirOperationGetName(op)));
  const auto has = [name](std::string_view part) { return name.find(part) != name.npos; };
  if (!startsWith(name, kDialect) && !has("conv") && !(startsWith(name, "torch.") && (has("linear") || has("mm") || has("operator"))))
    return MlirWalkResultAdvance;
  *static_cast<bool *>(found) = true;
  return MlirWalkResultInterrupt;
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

// Takes our options away; nobody else knows them.
void removeOptions(MlirOperation module) {
  for (std::intptr_t i = mlirOperationGetNumDiscardableAttributes(module); i-- > 0;) {
    const MlirStringRef name = mlirIdentifierStr(mlirOperationGetDiscardableAttribute(module, i).name);
    if (startsWith(toView(name), kDialect))
      mlirOperationRemoveDiscardableAttributeByName(module, name);
  }
}

// `text` as MLIR prints locations; the one of `module` if it is something else.
MlirLocation parseLocation(std::string_view text, MlirOperation module) {
  MlirAttribute place = {nullptr};
  if (startsWith(text, "loc("))
    place = mlirAttributeParseGet(mlirOperationGetContext(module), toRef(text));
  return place.ptr ? mlirLocationFromAttribute(place) : mlirOperationGetLocation(module);
}

// Emits the diagnostics that `answer` begins with, and takes them off it; false if one is an error.
bool emitDiagnostics(std::string_view &answer, MlirOperation module) {
  bool good = true;
  for (;;) {
    std::string_view rest = answer;
    const std::string_view severity = takeField(rest);
    const auto emit = severity == "error"     ? mlirEmitError
                      : severity == "warning" ? mlirEmitWarning
                      : severity == "remark"  ? mlirEmitRemark
                                              : nullptr;
    if (!emit)
      return good;
    const MlirLocation location = parseLocation(takeField(rest), module);
    emit(location, std::string(takeField(rest)).c_str());
    good = good && severity != "error";
    answer = rest;
  }
}

// Takes the answer over into `module`; false after an error was emitted.
bool apply(const ChildResult &child, const std::string &python, MlirOperation module) {
  const auto fail = [&](const std::string &reason) {
    emitError(mlirOperationGetLocation(module), "dtmm-mlir plug-in: the passes, run by '" + python + "', " + reason);
    return false;
  };
  std::string_view answer = child.answer;
  if (!emitDiagnostics(answer, module))
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

// A pass and its options, such as "target=cortex-m55".
struct Request {
  std::string pass, options;
};

bool run(const Request &request, MlirOperation module) {
  bool candidates = false;
  mlirOperationWalk(module, findCandidate, &candidates, MlirWalkPreOrder);
  if (candidates) {
    std::string bytecode;
    const auto append = [](MlirStringRef part, void *text) { static_cast<std::string *>(text)->append(toView(part)); };
    mlirOperationWriteBytecode(module, append, &bytecode);
    const std::string python = findPython();
    // -P: what lies in the current folder must not be imported.
    const std::vector<std::string> command = {python,       "-P", "-m", "dtmm_mlir.plugin.child",
                                              request.pass, request.options};
    if (!apply(runChild(command, bytecode, timeLimit()), python, module))
      return false;
  }
  if (request.pass == kPasses[0])
    removeOptions(module);
  return true;
}

MlirPass createPass(const Request &request) {
  static const MlirTypeID id = mlirTypeIDAllocatorAllocateTypeID(mlirTypeIDAllocatorCreate());
  MlirExternalPassCallbacks callbacks = {};
  callbacks.construct = [](void *) {};
  callbacks.destruct = [](void *data) { delete static_cast<Request *>(data); };
  callbacks.initialize = [](MlirContext, void *) { return MlirLogicalResult{1}; };
  callbacks.clone = [](void *data) -> void * { return new Request(*static_cast<Request *>(data)); };
  callbacks.run = [](MlirOperation module, MlirExternalPass pass, void *data) {
    if (!run(*static_cast<Request *>(data), module))
      mlirExternalPassSignalFailure(pass);
  };
  return mlirCreateExternalPass(id, toRef(request.pass), toRef(request.pass), toRef("A pass of dtmm-mlir"),
                                toRef("builtin.module"), 0, nullptr, callbacks, new Request(request));
}

// Lets ops of the filterlet dialect be parsed. Where MLIR's loader is missing they are rejected as unknown; captured
// convolutions do not need it.
void loadDialect(void *context) {
  const auto load = reinterpret_cast<mlir::LoadIrdl>(
      findLocalSymbol(reinterpret_cast<const void *>(mlirContextCreate), mlir::kLoadIrdl));
  const std::string file = findFolder() + "/filterlet.irdl.mlir";
  if (!load || !load(toRef(file), context).succeeded)
    std::fprintf(stderr, "warning: the plug-in of dtmm-mlir cannot load '%s'; ops of the filterlet dialect are unknown.\n",
                 file.c_str());
}

class Session : public iree::Session {
  iree::LogicalResult onActivate() override {
    loadDialect(context);
    return {true};
  }
  void extendInputConversionPreprocessingPassPipeline(iree::OpPassManager &passes, int) override {
    mlirOpPassManagerAddOwnedPass(MlirOpPassManager{&passes}, createPass({kPasses[0], ""}));
  }
};

class Registration : public iree::Registration {
  using iree::Registration::Registration;
  iree::ActivationPolicy getActivationPolicy() override { return iree::kByDefault; }
  // For iree-opt: each pass as a pipeline of one, because those are given their options as text.
  void registerPasses() override {
    const auto add = reinterpret_cast<mlir::RegisterPipeline>(
        findLocalSymbol(reinterpret_cast<const void *>(mlirContextCreate), mlir::kRegisterPipeline));
    for (const char *name : kPasses) {
      const auto addPasses = [name](iree::OpPassManager &passes, MlirStringRef options, mlir::FunctionRef) {
        mlirOpPassManagerAddOwnedPass(MlirOpPassManager{&passes}, createPass({name, std::string(toView(options))}));
        return iree::LogicalResult{true};
      };
      if (add)
        add(toRef(name), toRef("A pass of dtmm-mlir"), addPasses, [](mlir::FunctionRef) {});
    }
  }
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
