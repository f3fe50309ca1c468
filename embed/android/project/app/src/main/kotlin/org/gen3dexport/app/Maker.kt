package org.gen3dexport.app

import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.concurrent.CancellationException
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicBoolean
import org.gen3dexport.gen3d.Gen3dAsset
import org.gen3dexport.gen3d.Gen3dBundle

/** What a screen hears; each call comes by the maker's `post`. */
interface Listener {
    fun opened()

    fun progress(component: String, done: Double)

    /** `asset.glb`, `vertices`, `normals` and `faces` are in the maker's folder. */
    fun made(vertices: Int, faces: Int, milliseconds: Long)

    fun cancelled()

    fun failed(message: String)
}

/**
 * Makes assets on a thread of its own, one at a time.
 *
 * @param folder the bundle's folder; asked on that thread.
 * @param digest what the bundle's manifest must have.
 * @param made where assets are written.
 * @param post runs a call where the screen wants it.
 */
class Maker(
    private val folder: () -> File,
    private val digest: String,
    private val made: File,
    private val post: (() -> Unit) -> Unit,
    private val listener: Listener,
) {
    private val thread = Executors.newSingleThreadExecutor()
    private val stop = AtomicBoolean()
    private var bundle: Gen3dBundle? = null

    /** Open the bundle. */
    fun open() = work {
        bundle()
        post(listener::opened)
    }

    /** Make an asset of a prompt and a seed. */
    fun make(prompt: String, seed: Long) {
        stop.set(false)
        work {
            val start = System.nanoTime()
            val asset = bundle().run(prompt, seed) { component, done ->
                post { listener.progress(component, done) }
                !stop.get()
            }
            asset.use {
                val (vertices, faces) = write(it)
                val milliseconds = (System.nanoTime() - start) / 1_000_000
                post { listener.made(vertices, faces, milliseconds) }
            }
        }
    }

    /** Stop what is being made, at the next call of a program. */
    fun cancel() = stop.set(true)

    /** Stop, and give everything back. */
    fun close() {
        cancel()
        thread.execute { bundle?.close() }
        thread.shutdown()
    }

    private fun bundle(): Gen3dBundle = bundle ?: Gen3dBundle.open(folder()).also {
        if (it.digest != digest) {
            it.close()
            throw IOException("${folder()}: is another bundle than this application was made for; copy the right one")
        }
        bundle = it
    }

    private fun write(asset: Gen3dAsset): Pair<Int, Int> {
        if (!made.isDirectory && !made.mkdirs()) throw IOException("$made: cannot be made; free some space")
        val (vertices, normals, faces) = Triple(asset.vertices(), asset.normals(), asset.faces())
        File(made, "vertices").writeBytes(bytes(vertices.size) { it.asFloatBuffer().put(vertices) })
        File(made, "normals").writeBytes(bytes(normals.size) { it.asFloatBuffer().put(normals) })
        File(made, "faces").writeBytes(bytes(faces.size) { it.asIntBuffer().put(faces) })
        asset.write(File(made, "asset.glb"))
        return Pair(vertices.size / 3, faces.size / 3)
    }

    private fun bytes(count: Int, fill: (ByteBuffer) -> Unit): ByteArray =
        ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN).also(fill).array()

    private fun work(task: () -> Unit) = thread.execute {
        try {
            task()
        } catch (_: CancellationException) {
            post(listener::cancelled)
        } catch (error: Exception) {
            post { listener.failed(error.message ?: error.toString()) }
        } catch (error: LinkageError) {  // a native library is missing
            post { listener.failed(error.message ?: error.toString()) }
        } catch (error: OutOfMemoryError) {
            post { listener.failed("no memory left; close other applications") }
        }
    }
}
