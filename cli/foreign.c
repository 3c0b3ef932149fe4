/* Files in place of a model: by the ends of their names or their first bytes what they are, and
 * what makes ONNX of them. */
#include "foreign.h"

#include "os.h"

#include <stdio.h>
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
#define BOOST "export the model with onnxmltools."

static const foreign foreigners[] = {
    {".pt", "a PyTorch file", TORCH},
    {".pth", "a PyTorch file", TORCH},
    {".pt2", "a PyTorch file", TORCH},
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
    {".ubj", "an XGBoost file", BOOST "convert_xgboost"},
    {".cbm", "a CatBoost file", "export it with model.save_model(\"model.onnx\", format=\"onnx\")"},
    {".pdmodel", "a Paddle file", "export it with paddle2onnx"},
    {".ort", "a file of ONNX Runtime's own format", "give the .onnx that it was made of"},
    {".gguf", "a file of llama.cpp",
     "export the model that it was made of with optimum-cli export onnx --model FOLDER OUT"},
};

/* Files that bear any name. */
static const struct {
    const char *start, *what, *way;
} beginnings[] = {
    {"version https://git-lfs", "a pointer of Git LFS", "fetch the file with git lfs pull"},
    {"<!DOCTYPE", "a web page", "download the file itself"},
    {"<!doctype", "a web page", "download the file itself"},
    {"<html", "a web page", "download the file itself"},
    {"{\"learner\"", "an XGBoost file", BOOST "convert_xgboost"},
    {"tree\nversion=", "a LightGBM file", BOOST "convert_lightgbm"},
};

static void explain_start(const char *path, ox_error *err)
{
    char start[32] = "";
    ox_os_info info;
    bool plain = ox_os_stat(path, &info) && info.kind == OX_OS_FILE; /* a pipe would wait */
    FILE *file = plain ? fopen(path, "rb") : NULL;
    if (!file) {
        return;
    }
    start[fread(start, 1, sizeof start - 1, file)] = 0;
    fclose(file);
    if (info.size == 0) {
        ox_cli_error(err, OX_INVALID, "%s: an empty file", path);
    }
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        if (!strncmp(start, beginnings[i].start, strlen(beginnings[i].start))) {
            ox_cli_error(err, OX_INVALID, "%s: %s, not ONNX: %s", path, beginnings[i].what,
                         beginnings[i].way);
        }
    }
}

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
    if (err->code == OX_INVALID) {
        explain_start(path, err);
    }
    free(inner);
}
