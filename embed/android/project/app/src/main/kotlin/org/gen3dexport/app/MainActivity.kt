package org.gen3dexport.app

import android.app.Activity
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.EditText
import android.widget.ProgressBar
import android.widget.TextView
import androidx.core.content.FileProvider
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.security.SecureRandom
import org.gen3dexport.gen3d.ExecuTorch
import org.gen3dexport.gen3d.Gen3dBundle

/** The one screen: what to make and its seed, progress and a stop, the asset, its file. */
class MainActivity : Activity(), Listener {

    private lateinit var maker: Maker
    private lateinit var viewer: Viewer
    private lateinit var made: File
    private var count = 0

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        made = File(cacheDir, "made").apply { mkdirs() }
        viewer = Viewer(this, findViewById(R.id.view), made)
        Gen3dBundle.useRuntime(ExecuTorch, getString(R.string.runtime_version))
        val digest = getString(R.string.bundle_digest)
        val folder = BundleFolder(digest, names(), assets::open, File(filesDir, "bundles"), getExternalFilesDir("bundle"))
        maker = Maker(folder::find, digest, made, { call -> runOnUiThread(call) }, this)
        button(R.id.make).setOnClickListener { make() }
        button(R.id.another).setOnClickListener {
            field(R.id.seed).setText(SecureRandom().nextInt(Int.MAX_VALUE).toString())
            make()
        }
        button(R.id.cancel).setOnClickListener { maker.cancel() }
        button(R.id.share).setOnClickListener { share() }
        button(R.id.save).setOnClickListener { save() }
        state(busy = true, getString(R.string.opening))
        maker.open()
    }

    override fun onDestroy() {
        maker.close()
        super.onDestroy()
    }

    private fun make() {
        val seed = field(R.id.seed).text.toString().trim().ifEmpty { "0" }.toLongOrNull()
        if (seed == null) return failed(getString(R.string.wrong_seed))
        state(busy = true, getString(R.string.reading))
        findViewById<View>(R.id.cancel).visibility = View.VISIBLE
        maker.make(field(R.id.prompt).text.toString(), seed)
    }

    override fun opened() = state(busy = false, getString(R.string.ready))

    override fun progress(component: String, done: Double) {
        findViewById<ProgressBar>(R.id.progress).progress = (1000 * done).toInt()
        text(R.id.status).text = component.replace('_', ' ')
    }

    override fun made(vertices: Int, faces: Int, milliseconds: Long) {
        viewer.show(++count)
        findViewById<View>(R.id.files).visibility = View.VISIBLE
        state(busy = false, getString(R.string.made, vertices, faces, milliseconds / 1000.0))
    }

    override fun cancelled() = state(busy = false, getString(R.string.cancelled))

    override fun failed(message: String) = state(busy = false, message)

    private fun state(busy: Boolean, said: String) {
        text(R.id.status).text = said
        for (id in intArrayOf(R.id.make, R.id.another)) button(id).isEnabled = !busy
        if (!busy) findViewById<ProgressBar>(R.id.progress).progress = 0
        if (!busy) findViewById<View>(R.id.cancel).visibility = View.GONE
    }

    private fun share() {
        val address = FileProvider.getUriForFile(this, "$packageName.files", File(made, GLB))
        val send = Intent(Intent.ACTION_SEND).setType(TYPE).putExtra(Intent.EXTRA_STREAM, address)
        startActivity(Intent.createChooser(send.addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION), null))
    }

    private fun save() {
        val create = Intent(Intent.ACTION_CREATE_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType(TYPE)
        startActivityForResult(create.putExtra(Intent.EXTRA_TITLE, GLB), SAVE)
    }

    @Deprecated("the result API that replaces it needs androidx.activity")
    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        val place: Uri? = data?.data
        if (requestCode != SAVE || resultCode != RESULT_OK || place == null) return
        try {
            val out = contentResolver.openOutputStream(place) ?: throw FileNotFoundException(place.toString())
            out.use { target -> File(made, GLB).inputStream().use { it.copyTo(target) } }
            text(R.id.status).text = getString(R.string.saved)
        } catch (error: IOException) {
            failed(error.message ?: error.toString())
        }
    }

    private fun names(): List<String> = assets.open("bundle-files.txt").bufferedReader().use { it.readLines() }.filter { it.isNotEmpty() }

    private fun button(id: Int): Button = findViewById(id)

    private fun field(id: Int): EditText = findViewById(id)

    private fun text(id: Int): TextView = findViewById(id)

    private companion object {
        const val GLB = "asset.glb"
        const val TYPE = "model/gltf-binary"
        const val SAVE = 1
    }
}
