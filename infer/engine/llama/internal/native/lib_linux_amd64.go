//lint:file-ignore U1000 the structures have the fields of the C ones

package native

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// versions are the releases whose header this file follows.
var versions = []string{"0.5.0-dev", "0.5.0"}

// modelParams is struct llama_model_params.
type modelParams struct {
	devices, overrides                        uintptr
	gpuLayers, splitMode, loadMode            int32
	_, mainGPU, _                             int32
	tensorSplit, progress, progressData, meta uintptr
	flags                                     [8]uint8
}

// contextParams is struct llama_context_params.
type contextParams struct {
	context, batch, ubatch, sequences, snapshots uint32
	outputs, outputsPerSeq                       uint32
	threads, threadsBatch                        int32
	kind, rope, pooling, attention, flash        int32
	ropeAndYarn                                  [6]float32
	yarnContext                                  uint32
	defrag                                       float32
	evalCallback, evalData                       uintptr
	typeK, typeV                                 int32
	abort, abortData                             uintptr
	flags                                        [8]uint8
	samplers, samplerCount, other                uintptr
}

// batch is struct llama_batch.
type batch struct {
	n, _                                    int32
	token, embd, pos, seqCount, seq, logits uintptr
}

// The default parameters of the versions above, byte by byte. aa is padding.
const (
	modelDefaults = "0000000000000000 0000000000000000 ffffffff01000000 ffffffff01000000" +
		"00000000aaaaaaaa 0000000000000000 0000000000000000 0000000000000000" +
		"0000000000000000 000001000000aaaa"
	contextDefaults = "0002000000080000 0002000001000000 0000000000000000 0100000004000000" +
		"0400000000000000 ffffffffffffffff ffffffffffffffff 0000000000000000" +
		"000080bf000080bf 000080bf000080bf 00000000000080bf 0000000000000000" +
		"0000000000000000 0100000001000000 0000000000000000 0000000000000000" +
		"000101010100aaaa 0000000000000000 0000000000000000 0000000000000000"
)

// library is libllama, loaded once a process.
type library struct {
	version       func() string
	backendInit   func()
	logSet        func(callback, data uintptr)
	loadBackends  func(dir string)
	modelDefaults func() modelParams
	ctxDefaults   func() contextParams

	modelLoad     func(path string, p modelParams) uintptr
	modelVocab    func(model uintptr) uintptr
	modelTrained  func(model uintptr) int32
	modelEncoder  func(model uintptr) bool
	modelDecoder  func(model uintptr) bool
	modelDesc     func(model uintptr, buf *byte, size uintptr) int32
	modelTemplate func(model uintptr, name uintptr) string
	applyTemplate func(template *byte, messages *chatMessage, n uintptr, assistant bool, buf *byte, size int32) int32

	ctxNew     func(model uintptr, p contextParams) uintptr
	ctxSize    func(ctx uintptr) uint32
	ctxThreads func(ctx uintptr, decode, batch int32)
	ctxAbort   func(ctx, callback, data uintptr)
	ctxMemory  func(ctx uintptr) uintptr
	decode     func(ctx uintptr, b batch) int32
	logits     func(ctx uintptr, i int32) *float32
	seqRemove  func(memory uintptr, seq, from, to int32) bool
	clear      func(memory uintptr, data bool)
	stateSize  func(ctx uintptr, seq int32) uintptr
	stateGet   func(ctx uintptr, buf *byte, size uintptr, seq int32) uintptr
	stateSet   func(ctx uintptr, buf *byte, size uintptr, seq int32) uintptr

	vocabSize  func(vocab uintptr) int32
	vocabBOS   func(vocab uintptr) int32
	vocabAdds  func(vocab uintptr) bool
	vocabAttr  func(vocab uintptr, id int32) int32
	vocabText  func(vocab uintptr, id int32) string
	vocabIsEnd func(vocab uintptr, id int32) bool
	tokenize   func(vocab uintptr, text *byte, n int32, out *int32, max int32, addSpecial, parseSpecial bool) int32
	piece      func(vocab uintptr, id int32, buf *byte, size, lstrip int32, special bool) int32

	// A chain's parameters are one bool, passed like a byte.
	chainInit  func(params uint8) uintptr
	chainAdd   func(chain, sampler uintptr)
	initTopK   func(k int32) uintptr
	initTopP   func(p float32, keep uintptr) uintptr
	initMinP   func(p float32, keep uintptr) uintptr
	initTemp   func(t float32) uintptr
	initDist   func(seed uint32) uintptr
	sample     func(sampler, ctx uintptr, i int32) int32
	freeSample func(sampler uintptr)
}

// chatMessage is struct llama_chat_message.
type chatMessage struct{ role, content *byte }

// open loads the library and checks that it is what this file describes.
func open(dir string) (*library, error) {
	ggml, err := load(dir, "libggml")
	if err != nil {
		return nil, err
	}
	llama, err := load(dir, "libllama")
	if err != nil {
		return nil, err
	}
	l := &library{}
	for name, fn := range map[string]any{
		"llama_version":                &l.version,
		"llama_backend_init":           &l.backendInit,
		"llama_log_set":                &l.logSet,
		"llama_model_default_params":   &l.modelDefaults,
		"llama_context_default_params": &l.ctxDefaults,
		"llama_model_load_from_file":   &l.modelLoad,
		"llama_model_get_vocab":        &l.modelVocab,
		"llama_model_n_ctx_train":      &l.modelTrained,
		"llama_model_has_encoder":      &l.modelEncoder,
		"llama_model_has_decoder":      &l.modelDecoder,
		"llama_model_desc":             &l.modelDesc,
		"llama_model_chat_template":    &l.modelTemplate,
		"llama_chat_apply_template":    &l.applyTemplate,
		"llama_init_from_model":        &l.ctxNew,
		"llama_n_ctx":                  &l.ctxSize,
		"llama_set_n_threads":          &l.ctxThreads,
		"llama_set_abort_callback":     &l.ctxAbort,
		"llama_get_memory":             &l.ctxMemory,
		"llama_decode":                 &l.decode,
		"llama_get_logits_ith":         &l.logits,
		"llama_memory_seq_rm":          &l.seqRemove,
		"llama_memory_clear":           &l.clear,
		"llama_state_seq_get_size":     &l.stateSize,
		"llama_state_seq_get_data":     &l.stateGet,
		"llama_state_seq_set_data":     &l.stateSet,
		"llama_vocab_n_tokens":         &l.vocabSize,
		"llama_vocab_bos":              &l.vocabBOS,
		"llama_vocab_get_add_bos":      &l.vocabAdds,
		"llama_vocab_get_attr":         &l.vocabAttr,
		"llama_vocab_get_text":         &l.vocabText,
		"llama_vocab_is_eog":           &l.vocabIsEnd,
		"llama_tokenize":               &l.tokenize,
		"llama_token_to_piece":         &l.piece,
		"llama_sampler_chain_init":     &l.chainInit,
		"llama_sampler_chain_add":      &l.chainAdd,
		"llama_sampler_init_top_k":     &l.initTopK,
		"llama_sampler_init_top_p":     &l.initTopP,
		"llama_sampler_init_min_p":     &l.initMinP,
		"llama_sampler_init_temp":      &l.initTemp,
		"llama_sampler_init_dist":      &l.initDist,
		"llama_sampler_sample":         &l.sample,
		"llama_sampler_free":           &l.freeSample,
	} {
		if err := bind(llama, name, fn); err != nil {
			return nil, err
		}
	}
	if err := bind(ggml, "ggml_backend_load_all_from_path", &l.loadBackends); err != nil {
		return nil, err
	}
	if v := l.version(); !slices.Contains(versions, v) {
		return nil, fmt.Errorf("%w: %s: version %s, and only %s is known", ErrLibrary, dir, v, strings.Join(versions, " and "))
	}
	if err := checkLayout(llama, "llama_model_default_params", modelDefaults, unsafe.Sizeof(modelParams{})); err != nil {
		return nil, err
	}
	return l, checkLayout(llama, "llama_context_default_params", contextDefaults, unsafe.Sizeof(contextParams{}))
}

// load opens the one library of that name, whatever version stands in its file
// name.
func load(dir, name string) (uintptr, error) {
	var paths []string
	for _, pattern := range []string{name + ".so", name + ".v*.so", name + ".so.*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrLibrary, err)
		}
		paths = append(paths, found...)
	}
	if len(paths) == 0 {
		return 0, fmt.Errorf("%w: %s: no %s there", ErrLibrary, dir, name)
	}
	h, err := purego.Dlopen(paths[0], purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrLibrary, err)
	}
	return h, nil
}

func bind(lib uintptr, name string, fn any) error {
	addr, err := purego.Dlsym(lib, name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLibrary, err)
	}
	purego.RegisterFunc(fn, addr)
	return nil
}

// checkLayout calls a function that returns a structure, through the pointer
// that the ABI passes for it, and compares what it wrote.
func checkLayout(lib uintptr, name, want string, size uintptr) error {
	var fill func(*byte) uintptr
	if err := bind(lib, name, &fill); err != nil {
		return err
	}
	expect, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
	if err != nil {
		return err
	}
	const room = 512
	got := bytes.Repeat([]byte{0xaa}, room)
	fill(&got[0])
	runtime.KeepAlive(got)
	expect = append(expect, bytes.Repeat([]byte{0xaa}, room-len(expect))...)
	if uintptr(len(strings.ReplaceAll(want, " ", ""))/2) != size || !bytes.Equal(got, expect) {
		return fmt.Errorf("%w: %s has another layout than expected", ErrLibrary, name)
	}
	return nil
}
