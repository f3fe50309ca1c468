// What the wrapper and the application's parts promise, on a desktop's JVM:  ChecksKt BUNDLE FOLDER DIGEST
import java.io.File
import java.io.IOException
import java.util.concurrent.CancellationException
import java.util.concurrent.LinkedBlockingQueue
import kotlin.system.exitProcess
import org.gen3dexport.app.BundleFolder
import org.gen3dexport.app.Listener
import org.gen3dexport.app.Maker
import org.gen3dexport.gen3d.ExecuTorch
import org.gen3dexport.gen3d.Gen3dBundle
import org.gen3dexport.gen3d.Gen3dException
import org.gen3dexport.gen3d.NativeTensor
import org.gen3dexport.gen3d.Program
import org.gen3dexport.gen3d.Runtime
import org.pytorch.executorch.Module

private var failures = 0

private fun that(holds: Boolean, what: String) {
    if (holds) return
    System.err.println("FAILED: $what")
    ++failures
}

private inline fun <reified T : Throwable> thrown(what: String, work: () -> Unit): T? {
    try {
        work()
    } catch (error: Throwable) {
        if (error is T) return error
        that(false, "$what: threw $error")
        return null
    }
    that(false, "$what: did not throw")
    return null
}

fun main(words: Array<String>) {
    val (bundle, folder) = words.take(2).map(::File)
    val none = thrown<Gen3dException>("no runtime yet") { Gen3dBundle.open(bundle).use { it.load() } }
    that(none?.code == Gen3dException.MISSING && "gen3d_use_runtime" in none.message!!, "it says so: ${none?.message}")
    Gen3dBundle.useRuntime(ExecuTorch, "the wheel's")
    that(Gen3dBundle.version.endsWith(", the wheel's"), "version")
    wrapper(bundle, folder, words[2])
    runtimes(bundle)
    folders(bundle, folder, words[2])
    screen(bundle, folder, words[2])
    println(if (failures == 0) "all checks passed" else "$failures checks failed")
    exitProcess(if (failures == 0) 0 else 1)
}

private fun wrapper(path: File, folder: File, digest: String) {
    Gen3dBundle.open(path).use { bundle ->
        that(bundle.digest == digest && bundle.info.startsWith("{"), "digest and info")
        val told = mutableListOf<Pair<String, Double>>()
        bundle.run("a chair", 7) { component, done -> told.add(Pair(component, done)) }.use { asset ->
            asset.write(File(folder, "by_kotlin.glb"))
            val (vertices, faces) = Pair(asset.vertices(), asset.faces())
            that(vertices.size == asset.normals().size && vertices.isNotEmpty(), "normals")
            that(faces.isNotEmpty() && faces.all { 3 * it in 0 until vertices.size }, "faces")
            val wrong = thrown<Gen3dException>("an ending") { asset.write(File(folder, "a.xyz")) }
            that(wrong?.code == Gen3dException.USAGE, "its class")
        }
        that(Module.alive == 0, "programs are dropped after their last step: ${Module.alive} are there")
        that(told.first() == Pair("text_encoder", 0.0) && told.last().first == "decoder", "progress: $told")
        bundle.load()
        that(Module.alive > 1, "load keeps programs")
        bundle.run("Chäir \uD83E\uDE91", 1, keepPrograms = true).use { it.write(File(folder, "unicode.glb")) }
        that(Module.alive > 1, "and so does the next run")
        thrown<CancellationException>("a stop") { bundle.run("a chair", 7, true) { _, done -> done < 0.3 } }
        val mine = thrown<IllegalStateException>("a callback's exception") { bundle.run("a chair", 7, true) { _, _ -> error("mine") } }
        that(mine?.message == "mine", "it is the same one")
        val empty = thrown<Gen3dException>("an empty prompt") { bundle.run("  ") }
        that(empty?.code == Gen3dException.USAGE && "prompt" in empty.message!!, "the library's words")
        thrown<Gen3dException>("a NUL") { bundle.run("a\u0000b") }
    }
    that(Module.alive == 0, "close drops programs")
    val gone = thrown<Gen3dException>("no bundle") { Gen3dBundle.open(File(folder, "none")) }
    that(gone?.code == Gen3dException.USAGE, "its class")
    thrown<IllegalStateException>("a closed bundle") { Gen3dBundle.open(path).also { it.close() }.run("a chair") }
}

private class Broken(private val program: Program?) : Runtime {
    override fun load(path: ByteArray): Program = program ?: throw IOException("not today\nand a second line")
}

private fun runtimes(path: File) {
    Gen3dBundle.useRuntime(Broken(null), "broken")
    val load = thrown<Gen3dException>("a program that cannot be loaded") { Gen3dBundle.open(path).use { it.run("a chair") } }
    that(load?.code == Gen3dException.VERIFICATION && "(not today)" in load.message!!, "why: ${load?.message}")
    var closed = 0
    val program = object : Program {
        override fun call(inputs: Array<NativeTensor>, outputs: Array<NativeTensor>) = error("input ${inputs[0].name}")

        override fun close() {
            ++closed
        }
    }
    Gen3dBundle.useRuntime(Broken(program), "broken")
    val call = thrown<Gen3dException>("a program that fails") { Gen3dBundle.open(path).use { it.run("a chair") } }
    that(call?.code == Gen3dException.PROGRAM && "(input ids)" in call.message!!, "why: ${call?.message}")
    that(closed == 1, "what was loaded is closed: $closed")
    Gen3dBundle.useRuntime(ExecuTorch, "the wheel's")
}

private fun folders(bundle: File, folder: File, digest: String) {
    val names = bundle.walk().filter { it.isFile }.map { it.relativeTo(bundle).path }.filter { it.split("/")[0] in setOf("programs", "host", "manifest.json") }
    val open = { name: String -> File(bundle, name.removePrefix("bundle/")).inputStream() }
    val inside = File(folder, "inside").apply { File(this, "old/x").mkdirs() }
    File(inside, "$digest.draft").mkdirs()
    thrown<IOException>("half a copy") {
        BundleFolder(digest, names.toList(), { name -> if (name.endsWith(".pte")) throw IOException("no space") else open(name) }, inside, null).find()
    }
    that(!File(inside, digest).exists(), "half a copy is no bundle")
    val found = BundleFolder(digest, names.toList(), open, inside, null).find()
    that(found == File(inside, digest) && inside.list()!!.toList() == listOf(digest), "one folder, whole: ${inside.list()!!.toList()}")
    Gen3dBundle.open(found).use { it.load() }
    that(BundleFolder(digest, names.toList(), { error("copied again") }, inside, null).find() == found, "it is copied once")
    that(BundleFolder(digest, emptyList(), open, inside, bundle).find() == bundle, "beside")
    val missing = thrown<IOException>("nothing beside") { BundleFolder(digest, emptyList(), open, inside, File(folder, "none")).find() }
    that("adb push" in missing!!.message!!, "how to mend it")
}

private class Heard : Listener {
    val said = LinkedBlockingQueue<String>()

    override fun opened() = said.put("opened")

    override fun progress(component: String, done: Double) = Unit

    override fun made(vertices: Int, faces: Int, milliseconds: Long) = said.put("made $vertices $faces")

    override fun cancelled() = said.put("cancelled")

    override fun failed(message: String) = said.put("failed: $message")
}

private fun screen(bundle: File, folder: File, digest: String) {
    val (heard, made) = Pair(Heard(), File(folder, "made"))
    val maker = Maker({ bundle }, digest, made, { it() }, heard)
    maker.open()
    that(heard.said.take() == "opened", "opened")
    maker.make("a chair", 7)
    val (vertices, faces) = heard.said.take().split(" ").drop(1).map(String::toLong)
    that(File(made, "asset.glb").readBytes().contentEquals(File(folder, "by_kotlin.glb").readBytes()), "the same file")
    that(File(made, "vertices").length() == 12 * vertices && File(made, "faces").length() == 12 * faces, "the viewer's files")
    maker.make(" ", 7)
    that(heard.said.take().startsWith("failed: prompt: empty"), "a wrong prompt is told")
    val stopper = Maker({ bundle }, digest, made, { it() }, heard)
    stopper.make("a chair", 7)
    stopper.cancel()
    that(heard.said.take() == "cancelled", "a stop is told")
    stopper.close()
    val other = Maker({ bundle }, "0".repeat(64), made, { it() }, heard)
    other.open()
    that("another bundle" in heard.said.take(), "another bundle is refused")
    other.close()
    maker.close()
}
