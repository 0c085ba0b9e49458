/* The rest of what PyCUDA's extension names at load time: there, so that it loads; refused, so that nobody leans on it. */
#include "driver.h"

#include <stdio.h>

#define REFUSED(X) \
    X(Array3DCreate_v2) X(Array3DGetDescriptor_v2) X(ArrayCreate_v2) X(ArrayDestroy) X(ArrayGetDescriptor_v2) \
    X(CtxAttach) X(CtxDetach) X(CtxDisablePeerAccess) X(CtxEnablePeerAccess) X(CtxGetCacheConfig) X(CtxGetLimit) \
    X(CtxGetSharedMemConfig) X(CtxSetCacheConfig) X(CtxSetLimit) X(CtxSetSharedMemConfig) X(DeviceCanAccessPeer) \
    X(DeviceGetByPCIBusId) X(FuncGetAttribute) X(FuncSetAttribute) X(FuncSetBlockShape) X(FuncSetCacheConfig) \
    X(FuncSetSharedSize) X(IpcCloseMemHandle) X(IpcGetEventHandle) X(IpcGetMemHandle) X(IpcOpenEventHandle) \
    X(IpcOpenMemHandle_v2) X(Launch) X(LaunchGrid) X(LaunchGridAsync) X(LaunchKernel) X(LinkAddData_v2) \
    X(LinkAddFile_v2) X(LinkComplete) X(LinkCreate_v2) X(LinkDestroy) X(MemAllocManaged) X(MemAllocPitch_v2) \
    X(MemGetAddressRange_v2) X(MemHostGetFlags) X(MemHostRegister_v2) X(MemHostUnregister) X(Memcpy2DAsync_v2) \
    X(Memcpy2DUnaligned_v2) X(Memcpy2D_v2) X(Memcpy3DAsync_v2) X(Memcpy3DPeer) X(Memcpy3DPeerAsync) X(Memcpy3D_v2) \
    X(MemcpyAtoA_v2) X(MemcpyAtoD_v2) X(MemcpyAtoH_v2) X(MemcpyDtoA_v2) X(MemcpyHtoA_v2) X(MemcpyPeer) \
    X(MemcpyPeerAsync) X(MemsetD16Async) X(MemsetD16_v2) X(MemsetD2D16Async) X(MemsetD2D16_v2) X(MemsetD2D32Async) \
    X(MemsetD2D32_v2) X(MemsetD2D8Async) X(MemsetD2D8_v2) X(MemsetD32Async) X(MemsetD32_v2) X(ModuleGetFunction) \
    X(ModuleGetGlobal_v2) X(ModuleGetSurfRef) X(ModuleGetTexRef) X(ModuleLoad) X(ModuleLoadData) X(ModuleLoadDataEx) \
    X(ModuleUnload) X(ParamSetSize) X(ParamSetTexRef) X(ParamSetf) X(ParamSeti) X(ParamSetv) X(ProfilerInitialize) \
    X(ProfilerStart) X(ProfilerStop) X(StreamAttachMemAsync) X(SurfRefGetArray) X(SurfRefSetArray) X(TexRefCreate) \
    X(TexRefDestroy) X(TexRefGetAddressMode) X(TexRefGetAddress_v2) X(TexRefGetArray) X(TexRefGetFilterMode) \
    X(TexRefGetFlags) X(TexRefGetFormat) X(TexRefSetAddress2D_v3) X(TexRefSetAddressMode) X(TexRefSetAddress_v2) \
    X(TexRefSetArray) X(TexRefSetFilterMode) X(TexRefSetFlags) X(TexRefSetFormat)

#define REFUSE(name) \
    API cu##name(void); \
    API cu##name(void) { \
        fprintf(stderr, "simulated libcuda: cu" #name " is not simulated\n"); \
        return NOT_SUPPORTED; \
    }
REFUSED(REFUSE)
