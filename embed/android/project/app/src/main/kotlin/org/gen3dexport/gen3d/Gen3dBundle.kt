package org.gen3dexport.gen3d

import java.io.Closeable
import java.io.File
import java.util.concurrent.CancellationException

/** A bundle that makes assets. One thread at a time. */
class Gen3dBundle private constructor(private var handle: Long) : Closeable {

    /** What it is, as a JSON object. */
    val info: String
        get() = String(Native.info(opened()), Charsets.UTF_8)

    /** The digest of its manifest, which has one of every file. */
    val digest: String
        get() = Regex("\"digest\": \"([0-9a-f]{64})\"").find(info)?.groupValues?.get(1) ?: ""

    /** Load every program now, so that the first asset of `keepPrograms` does not wait for it. */
    fun load() = Native.load(opened())

    /**
     * Make an asset; the same seed makes the same one.
     *
     * @param keepPrograms keep programs loaded for the next asset; else each goes after its last step.
     * @param keepOn told before each call of a program: the component, and the share of the calls that is done; false stops.
     * @throws Gen3dException for a wrong prompt, a damaged bundle, a program that failed.
     * @throws CancellationException when `keepOn` said so.
     */
    fun run(prompt: String, seed: Long = 0, keepPrograms: Boolean = false, keepOn: ((String, Double) -> Boolean)? = null): Gen3dAsset {
        if ('\u0000' in prompt) throw Gen3dException(Gen3dException.USAGE, "prompt: has a NUL; leave it out")
        val watch = keepOn?.let { told -> Watch { component, done -> told(String(component, Charsets.UTF_8), done) } }
        try {
            return Gen3dAsset(Native.run(opened(), prompt.toByteArray(Charsets.UTF_8), seed, keepPrograms, watch))
        } catch (error: Gen3dException) {
            if (error.code == Gen3dException.CANCELLED) throw CancellationException(error.message)
            throw error
        }
    }

    override fun close() {
        Native.close(handle)
        handle = 0
    }

    private fun opened(): Long = handle.also { check(it != 0L) { "the bundle is closed" } }

    companion object {
        /** Versions of the library and of the runtime. */
        val version: String
            get() = String(Native.version(), Charsets.UTF_8)

        /** Who runs programs from here on; say it before a bundle loads one. */
        fun useRuntime(runtime: Runtime, version: String) = Native.useRuntime(runtime, version.toByteArray(Charsets.UTF_8))

        /** Open a bundle's folder: its manifest is checked, and that its host steps are known. No program is loaded. */
        fun open(folder: File): Gen3dBundle = Gen3dBundle(Native.open(folder.path.toByteArray(Charsets.UTF_8)))
    }
}

/** An asset: a mesh, right-handed, z up, in the cube [-0.5, 0.5]^3. */
class Gen3dAsset internal constructor(private var handle: Long) : Closeable {

    /** x, y, z of each vertex, one after the other. */
    fun vertices(): FloatArray = Native.vertices(opened())

    /** Of length 1; as many as vertices. */
    fun normals(): FloatArray = Native.normals(opened())

    /** Three vertices a face, counter-clockwise seen from outside. */
    fun faces(): IntArray = Native.faces(opened())

    /** Write the mesh; the ending says how: .glb (y up) or .ply (z up). The file appears whole or not at all. */
    fun write(file: File) = Native.write(opened(), file.path.toByteArray(Charsets.UTF_8))

    override fun close() {
        Native.freeAsset(handle)
        handle = 0
    }

    private fun opened(): Long = handle.also { check(it != 0L) { "the asset is closed" } }
}
