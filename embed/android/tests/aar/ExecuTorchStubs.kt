// The AAR's classes as far as the wrapper calls them, over ExecuTorch's wheel on a desktop (desktop/desktop_executorch.cpp).
package org.pytorch.executorch

import java.nio.Buffer
import java.nio.FloatBuffer
import java.nio.LongBuffer

class Tensor private constructor(val buffer: Buffer, private val shape: LongArray) {
    fun shape(): LongArray = shape.copyOf()

    val dataAsFloatArray: FloatArray
        get() = FloatArray(buffer.capacity()).also { (buffer.rewind() as FloatBuffer).get(it) }

    val dataAsLongArray: LongArray
        get() = LongArray(buffer.capacity()).also { (buffer.rewind() as LongBuffer).get(it) }

    companion object {
        @JvmStatic
        fun fromBlob(data: FloatBuffer, shape: LongArray): Tensor = checked(data, data.isDirect, shape)

        @JvmStatic
        fun fromBlob(data: LongBuffer, shape: LongArray): Tensor = checked(data, data.isDirect, shape)

        private fun checked(data: Buffer, direct: Boolean, shape: LongArray): Tensor {
            require(direct) { "Data buffer must be direct" }
            require(data.capacity().toLong() == shape.fold(1L, Long::times)) { "Inconsistent data capacity" }
            return Tensor(data, shape)
        }
    }
}

class EValue private constructor(private val tensor: Tensor) {
    fun toTensor(): Tensor = tensor

    companion object {
        @JvmStatic
        fun from(tensor: Tensor): EValue = EValue(tensor)
    }
}

class Module private constructor(private var handle: Long) {
    fun loadMethod(name: String): Int = if (name == "forward") Desktop.load(handle) else 0x12

    fun forward(vararg inputs: EValue): Array<EValue> {
        val tensors = inputs.map { it.toTensor() }
        val rooms = Desktop.outputs(handle)
        val made = rooms.map { (shape, isFloat) ->
            val bytes = java.nio.ByteBuffer.allocateDirect((shape.fold(1L, Long::times) * if (isFloat) 4 else 8).toInt())
            bytes.order(java.nio.ByteOrder.nativeOrder())
            Tensor.run { if (isFloat) fromBlob(bytes.asFloatBuffer(), shape) else fromBlob(bytes.asLongBuffer(), shape) }
        }
        val shapes = tensors.map { it.shape() }.toTypedArray()
        Desktop.call(handle, tensors.map { it.buffer }.toTypedArray(), shapes, made.map { it.buffer }.toTypedArray())
        return made.map { EValue.from(it) }.toTypedArray()
    }

    fun destroy() {
        Desktop.free(handle)
        handle = 0
        --alive
    }

    companion object {
        const val LOAD_MODE_MMAP = 1

        /** How many there are, for the checks. */
        var alive = 0

        @JvmStatic
        fun load(path: String, mode: Int): Module = Module(Desktop.open(path)).also { ++alive }
    }
}

private object Desktop {
    init {
        System.loadLibrary("desktop_executorch")
    }

    external fun open(path: String): Long

    external fun load(handle: Long): Int

    /** Sizes of an output, with 1 (float32) or 0 (int64) behind them. */
    private external fun output(handle: Long, index: Int): LongArray?

    fun outputs(handle: Long): List<Pair<LongArray, Boolean>> =
        generateSequence(0) { it + 1 }.map { output(handle, it) }.takeWhile { it != null }.map { row ->
            Pair(row!!.copyOf(row.size - 1), row.last() == 1L)
        }.toList()

    external fun call(handle: Long, inputs: Array<Buffer>, shapes: Array<LongArray>, outputs: Array<Buffer>)

    external fun free(handle: Long)
}
