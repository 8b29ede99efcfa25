// The part of IREE 3.13.0's binary interface that the plug-in needs, declared here so that no header of IREE or LLVM is.
//
// Three things are relied on:
//   1. the plug-in description and the number that IREE compares before anything else (kAbiHash);
//   2. the order of virtual functions in two classes of IREE, and two fields;
//   3. the MLIR C API, whose functions libIREECompiler exports;
//   4. two functions of MLIR's that it has without exporting them, by their mangled names.
// Another version of IREE has another kAbiHash, and rejects the plug-in with a message before 2 to 4 matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string_view>

namespace iree {

constexpr std::uint64_t kAbiHash = 0x27493ee2eddc0611;
constexpr const char *kVersion = "3.13.0";

// Classes of IREE and LLVM that are only passed on.
struct DialectRegistry;
struct HalTargets;
struct ModuleOp;
struct OpPassManager;
struct OptionsBinder;
struct StringSet;

struct LogicalResult {
  bool succeeded;
};

// One compilation. The functions stand in the order of IREE's AbstractPluginSession.
class Session {
public:
  virtual ~Session() = default;
  virtual void registerDialects(DialectRegistry &) {}
  virtual void extendInputConversionPreprocessingPassPipeline(OpPassManager &, int /*inputType*/) {}
  virtual void populateCustomInputConversionTypes(StringSet &) {}
  virtual void populateDetectedCustomInputConversionTypes(ModuleOp &, StringSet &) {}
  virtual bool extendCustomInputConversionPassPipeline(OpPassManager &, std::string_view) { return false; }
  virtual void extendPreprocessingPassPipeline(OpPassManager &) {}
  virtual void populateHALTargetDevices(HalTargets &) {}
  virtual void populateHALTargetBackends(HalTargets &) {}
  virtual void onRegisterDialects(DialectRegistry &) {}
  virtual LogicalResult onActivate() { return {true}; }

protected:
  void *context = nullptr; // the MLIRContext; IREE sets it before onActivate
};

enum ActivationPolicy : int { kExplicit = 0, kByDefault = 1 };

// The plug-in, once per process. The functions stand in the order of IREE's AbstractPluginRegistration.
class Registration {
public:
  explicit Registration(std::string_view name) : id(name.data()), idLength(name.size()) {}
  virtual ~Registration() = default;
  virtual ActivationPolicy getActivationPolicy() { return kExplicit; }
  virtual void globalInitialize() {}
  virtual void registerPasses() {}
  virtual void initializeCLI() {}
  virtual void registerGlobalDialects(DialectRegistry &) {}
  virtual std::unique_ptr<Session> createUninitializedSession(OptionsBinder &) = 0;

  std::string_view name() const { return {id, idLength}; }

private:
  const char *id; // IREE reads these two as the start of a std::string
  std::size_t idLength;
};

// What a plug-in registers itself with: an llvm::StringMap<std::unique_ptr<Registration>>. It comes empty and is only
// walked afterwards, so one entry in a table of one bucket does, and nothing is hashed.
class Registrar {
public:
  // Takes `registration` over; false when this is not the empty map it should be.
  bool add(std::unique_ptr<Registration> &registration) {
    if (buckets || bucketCount || itemCount || itemSize != sizeof(Item))
      return false;
    const std::string_view key = registration->name();
    // LLVM frees it with this alignment.
    const auto alignment = std::align_val_t(alignof(Item));
    auto *item = static_cast<Item *>(::operator new(sizeof(Item) + key.size() + 1, alignment));
    auto **table = static_cast<Item **>(std::calloc(2, sizeof(Item *)));
    if (!table)
      std::abort();
    item->keyLength = key.size();
    item->value = registration.release();
    char *text = reinterpret_cast<char *>(item + 1);
    std::memcpy(text, key.data(), key.size());
    text[key.size()] = '\0';
    table[0] = item;
    table[1] = reinterpret_cast<Item *>(2); // the mark at the end of the table
    buckets = table;
    bucketCount = itemCount = 1;
    return true;
  }

private:
  struct Item {
    std::size_t keyLength;
    Registration *value;
  };
  Item **buckets;
  std::uint32_t bucketCount, itemCount, itemSize;
};

// What iree_get_compiler_plugin_info returns.
struct PluginInfo {
  std::uint64_t abiHash;
  const char *id;
  const char *version;
  bool (*registerPlugin)(Registrar *);
};

} // namespace iree

// From MLIR's mlir-c/IR.h, Diagnostics.h and Pass.h.
extern "C" {
struct MlirAttribute { const void *ptr; };
struct MlirBlock { void *ptr; };
struct MlirContext { void *ptr; };
struct MlirDialectHandle { const void *ptr; };
struct MlirExternalPass { void *ptr; };
struct MlirIdentifier { const void *ptr; };
struct MlirLocation { const void *ptr; };
struct MlirLogicalResult { std::int8_t value; };
struct MlirModule { const void *ptr; };
struct MlirOpPassManager { void *ptr; };
struct MlirOperation { void *ptr; };
struct MlirPass { void *ptr; };
struct MlirRegion { void *ptr; };
struct MlirStringRef { const char *data; std::size_t length; };
struct MlirTypeID { const void *ptr; };
struct MlirTypeIDAllocator { void *ptr; };

struct MlirNamedAttribute {
  MlirIdentifier name;
  MlirAttribute attribute;
};

enum MlirWalkOrder { MlirWalkPreOrder, MlirWalkPostOrder };
enum MlirWalkResult { MlirWalkResultAdvance, MlirWalkResultInterrupt, MlirWalkResultSkip };

struct MlirExternalPassCallbacks {
  void (*construct)(void *);
  void (*destruct)(void *);
  MlirLogicalResult (*initialize)(MlirContext, void *);
  void *(*clone)(void *);
  void (*run)(MlirOperation, MlirExternalPass, void *);
};

MlirAttribute mlirAttributeParseGet(MlirContext, MlirStringRef);
void mlirBlockAppendOwnedOperation(MlirBlock, MlirOperation);
MlirOperation mlirBlockGetFirstOperation(MlirBlock);
MlirContext mlirContextCreate();
MlirPass mlirCreateExternalPass(MlirTypeID, MlirStringRef name, MlirStringRef argument, MlirStringRef description,
                                MlirStringRef opName, std::intptr_t dialectCount, MlirDialectHandle *dialects,
                                MlirExternalPassCallbacks, void *userData);
void mlirEmitError(MlirLocation, const char *message);
void mlirEmitRemark(MlirLocation, const char *message);
void mlirEmitWarning(MlirLocation, const char *message);
void mlirExternalPassSignalFailure(MlirExternalPass);
MlirStringRef mlirIdentifierStr(MlirIdentifier);
MlirLocation mlirLocationFromAttribute(MlirAttribute);
MlirModule mlirModuleCreateParse(MlirContext, MlirStringRef);
void mlirModuleDestroy(MlirModule);
MlirBlock mlirModuleGetBody(MlirModule);
void mlirOpPassManagerAddOwnedPass(MlirOpPassManager, MlirPass);
void mlirOperationDestroy(MlirOperation);
MlirContext mlirOperationGetContext(MlirOperation);
MlirLocation mlirOperationGetLocation(MlirOperation);
MlirNamedAttribute mlirOperationGetDiscardableAttribute(MlirOperation, std::intptr_t position);
MlirIdentifier mlirOperationGetName(MlirOperation);
std::intptr_t mlirOperationGetNumDiscardableAttributes(MlirOperation);
MlirRegion mlirOperationGetRegion(MlirOperation, std::intptr_t);
bool mlirOperationRemoveDiscardableAttributeByName(MlirOperation, MlirStringRef);
void mlirOperationRemoveFromParent(MlirOperation);
void mlirOperationWalk(MlirOperation, MlirWalkResult (*)(MlirOperation, void *), void *, MlirWalkOrder);
void mlirOperationWriteBytecode(MlirOperation, void (*)(MlirStringRef, void *), void *);
MlirBlock mlirRegionGetFirstBlock(MlirRegion);
MlirTypeID mlirTypeIDAllocatorAllocateTypeID(MlirTypeIDAllocator);
MlirTypeIDAllocator mlirTypeIDAllocatorCreate();
} // extern "C"

// MLIR's functions that are not exported.
namespace mlir {

struct FunctionRef { // llvm::function_ref
  void *callback;
  std::intptr_t callable;
};

// Registers the dialects of an IRDL file: LogicalResult loadIRDLDialects(StringRef file, MLIRContext &).
constexpr const char *kLoadIrdl = "_Z16loadIRDLDialectsN4llvm9StringRefERN4mlir11MLIRContextE";
using LoadIrdl = iree::LogicalResult (*)(MlirStringRef file, void *context);

// Makes a name known to iree-opt: void mlir::registerPassPipeline(StringRef name, StringRef description,
// const PassRegistryFunction &, std::function<...>), whose last argument lists options for --help.
constexpr const char *kRegisterPipeline =
    "_ZN4mlir20registerPassPipelineEN4llvm9StringRefES1_RKSt8functionIFNS0_13LogicalResultERNS_13OpPassManagerES1_"
    "NS0_12function_refIFS3_RKNS0_5TwineEEEEEES2_IFvNS6_IFvRKNS_6detail11PassOptionsEEEEEE";
using AddPasses = std::function<iree::LogicalResult(iree::OpPassManager &, MlirStringRef options, FunctionRef fail)>;
using RegisterPipeline = void (*)(MlirStringRef name, MlirStringRef description, const AddPasses &,
                                  std::function<void(FunctionRef)>);

} // namespace mlir
