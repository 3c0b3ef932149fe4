/* Model files of other frameworks: the ends of their names, and what makes ONNX of them. */
#include "foreign.h"

#include "os.h"

#include <stdlib.h>
#include <string.h>

typedef struct foreign {
    const char *suffix;
    const char *what;
    const char *way;
} foreign;

#define TORCH "export the module with torch.onnx.export(module, sample, \"model.onnx\")"
#define TF2ONNX "export it with python -m tf2onnx.convert "
#define SKLEARN "export a scikit-learn model with skl2onnx.to_onnx(model, samples)"

static const foreign foreigners[] = {
    {".pt", "a PyTorch file", TORCH},
    {".pth", "a PyTorch file", TORCH},
    {".ckpt", "a checkpoint", TORCH},
    {".safetensors", "weights without their network",
     "load them into it and use torch.onnx.export, or optimum-cli export onnx --model FOLDER OUT"},
    {".keras", "a Keras file", "export it with model.export(\"model.onnx\", format=\"onnx\")"},
    {".h5", "a Keras file", TF2ONNX "--keras FILE --output model.onnx"},
    {".hdf5", "a Keras file", TF2ONNX "--keras FILE --output model.onnx"},
    {"saved_model.pb", "a TensorFlow model", TF2ONNX "--saved-model FOLDER --output model.onnx"},
    {".pb", "a TensorFlow graph",
     TF2ONNX "--graphdef FILE --inputs NAME:0 --outputs NAME:0 --output model.onnx"},
    {".tflite", "a TensorFlow Lite file", TF2ONNX "--tflite FILE --output model.onnx"},
    {".pkl", "a Python file", SKLEARN},
    {".joblib", "a Python file", SKLEARN},
    {".pdmodel", "a Paddle file", "export it with paddle2onnx"},
    {".ort", "a file of ONNX Runtime's own format", "give the .onnx that it was made of"},
    {".gguf", "a file of llama.cpp",
     "export the model that it was made of with optimum-cli export onnx --model FOLDER OUT"},
};

/* A file may be ONNX under any name, which is why only what could not be read comes here. */
void ox_foreign_explain(const char *path, ox_error *err)
{
    char *inner = ox_cli_format(NULL, "%s/saved_model.pb", path);
    ox_os_info info;
    bool folder = inner && ox_os_stat(inner, &info);
    for (size_t i = 0; i < sizeof foreigners / sizeof *foreigners; i++) {
        const foreign *f = &foreigners[i];
        if ((folder || err->code == OX_INVALID) &&
            ox_cli_has_suffix(folder ? inner : path, f->suffix)) {
            ox_cli_error(err, OX_INVALID, "%s: %s, not ONNX: %s", path, f->what, f->way);
            break;
        }
    }
    free(inner);
}
