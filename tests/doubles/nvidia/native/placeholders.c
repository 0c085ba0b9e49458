/* What tensorrt.so asks of libnvinfer, libnvonnxparser and libnvinfer_plugin at load time. One file stands for all
 * three. Every entry point returns nothing, so the bindings import and describe themselves, and no more. */
#include <stdbool.h>
#include <stddef.h>

#define RETURNS_NOTHING(name) \
    void *name(void); \
    void *name(void) { return NULL; }

RETURNS_NOTHING(createInferBuilder_INTERNAL)
RETURNS_NOTHING(createInferRefitter_INTERNAL)
RETURNS_NOTHING(createInferRuntime_INTERNAL)
RETURNS_NOTHING(getBuilderPluginRegistry)
RETURNS_NOTHING(getPluginRegistry)
RETURNS_NOTHING(createNvOnnxParser_INTERNAL)
RETURNS_NOTHING(createNvOnnxParserRefitter_INTERNAL)

int getInferLibVersion(void);
int getInferLibVersion(void) { return 0; }
int getNvOnnxParserVersion(void);
int getNvOnnxParserVersion(void) { return 0; }
bool initLibNvInferPlugins(void *logger, const char *space);
bool initLibNvInferPlugins(void *logger, const char *space) {
    (void)logger;
    (void)space;
    return true;
}
