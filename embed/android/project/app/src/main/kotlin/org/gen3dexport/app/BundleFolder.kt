package org.gen3dexport.app

import java.io.File
import java.io.IOException
import java.io.InputStream

/**
 * The bundle as a folder of files, which gen3d needs: an APK's assets are none.
 *
 * @param digest of the bundle that this application was made for: the name of its folder.
 * @param names the bundle's files among the assets; empty where the bundle comes beside the application.
 * @param open an asset by its path.
 * @param inside a private folder of the application.
 * @param beside where a bundle that comes beside the application is put.
 */
class BundleFolder(
    private val digest: String,
    private val names: List<String>,
    private val open: (String) -> InputStream,
    private val inside: File,
    private val beside: File?,
) {
    /** The folder; assets are copied once. What a copy that was broken off left is removed first. */
    fun find(): File {
        if (names.isEmpty()) return besides()
        val folder = File(inside, digest)
        if (folder.isDirectory) return folder
        inside.listFiles()?.forEach { it.deleteRecursively() }  // another bundle's, or half of this one
        val draft = File(inside, "$digest.draft")
        for (name in names) {
            val file = File(draft, name)
            val parent = file.parentFile
            if (parent != null && !parent.isDirectory && !parent.mkdirs()) throw IOException("$parent: cannot be made; free some space")
            open("bundle/$name").use { source -> file.outputStream().use { source.copyTo(it) } }
        }
        if (!draft.renameTo(folder)) throw IOException("$folder: cannot be written; free some space")
        return folder
    }

    private fun besides(): File {
        if (beside != null && File(beside, "manifest.json").isFile) return beside
        throw IOException("the bundle is not on this device yet; copy it: adb push bundle/. ${beside ?: "FOLDER"}")
    }
}
