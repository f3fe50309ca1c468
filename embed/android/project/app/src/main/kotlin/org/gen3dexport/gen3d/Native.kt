package org.gen3dexport.gen3d

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** gen3d.h as it is, by `gen3d_jni.cpp`, which finds these names; texts are UTF-8 in byte arrays. */
internal object Native {
    init {
        System.loadLibrary("gen3d_jni")
    }

    external fun useRuntime(runtime: Runtime, version: ByteArray)

    external fun version(): ByteArray

    external fun open(path: ByteArray): Long

    external fun close(bundle: Long)

    external fun info(bundle: Long): ByteArray

    external fun load(bundle: Long)

    external fun run(bundle: Long, prompt: ByteArray, seed: Long, keepPrograms: Boolean, watch: Watch?): Long

    external fun freeAsset(asset: Long)

    external fun vertices(asset: Long): FloatArray

    external fun normals(asset: Long): FloatArray

    external fun faces(asset: Long): IntArray

    external fun write(asset: Long, path: ByteArray)
}

/** A run's progress, as the library tells it: false stops the run. */
internal fun interface Watch {
    fun keepOn(component: ByteArray, done: Double): Boolean
}

/** What loads programs. */
interface Runtime {
    /** The program of a file; `path` is UTF-8. The library has compared the file's digest with the manifest. */
    fun load(path: ByteArray): Program
}

/** A loaded program; one thread at a time. */
interface Program {
    /** Call it: inputs are only read, outputs are filled; both are gone after the call. */
    fun call(inputs: Array<NativeTensor>, outputs: Array<NativeTensor>)

    fun close()
}

/** A row-major array in the library's memory, float32 or int64. */
class NativeTensor(name: ByteArray, val shape: LongArray, val isFloat: Boolean, data: ByteBuffer) {
    val name = String(name, Charsets.UTF_8)
    val data: ByteBuffer = data.order(ByteOrder.nativeOrder())
}
