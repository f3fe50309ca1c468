package org.gen3dexport.gen3d

import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

/** Programs run by the AAR `org.pytorch:executorch-android`. */
object ExecuTorch : Runtime {

    override fun load(path: ByteArray): Program {
        val module = Module.load(String(path, Charsets.UTF_8), Module.LOAD_MODE_MMAP)
        val code: Any = module.loadMethod("forward")  // older versions give a code, newer ones throw
        if (code is Int && code != 0) {
            module.destroy()
            throw IllegalStateException("ExecuTorch's error 0x${code.toString(16)}")
        }
        return Loaded(module)
    }

    private class Loaded(private val module: Module) : Program {

        override fun call(inputs: Array<NativeTensor>, outputs: Array<NativeTensor>) {
            val made = module.forward(*Array(inputs.size) { EValue.from(tensor(inputs[it])) })
            check(made.size == outputs.size) { "gives ${made.size} outputs, and the manifest says ${outputs.size}" }
            for ((value, room) in made.zip(outputs)) copy(value.toTensor(), room)
        }

        override fun close() = module.destroy()

        private fun tensor(given: NativeTensor): Tensor =
            if (given.isFloat) Tensor.fromBlob(given.data.asFloatBuffer(), given.shape)
            else Tensor.fromBlob(given.data.asLongBuffer(), given.shape)

        private fun copy(made: Tensor, room: NativeTensor) {
            check(made.shape().contentEquals(room.shape)) {
                "output ${room.name} is ${made.shape().contentToString()}, and the manifest says ${room.shape.contentToString()}"
            }
            if (room.isFloat) room.data.asFloatBuffer().put(made.dataAsFloatArray)
            else room.data.asLongBuffer().put(made.dataAsLongArray)
        }
    }
}
