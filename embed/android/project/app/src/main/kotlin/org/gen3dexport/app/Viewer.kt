package org.gen3dexport.app

import android.content.Context
import android.webkit.WebResourceRequest
import android.webkit.WebResourceResponse
import android.webkit.WebView
import android.webkit.WebViewClient
import androidx.webkit.WebViewAssetLoader
import java.io.File

/** The viewer's page, which takes its files from the assets and the mesh from the folder `made`; nothing from a network. */
class Viewer(context: Context, private val view: WebView, made: File) {

    private val loader = WebViewAssetLoader.Builder()
        .addPathHandler("/assets/", WebViewAssetLoader.AssetsPathHandler(context))
        .addPathHandler("/made/", WebViewAssetLoader.InternalStoragePathHandler(context, made))
        .build()
    private var ready = false
    private var waiting: Int? = null

    init {
        view.settings.javaScriptEnabled = true
        view.webViewClient = object : WebViewClient() {
            override fun shouldInterceptRequest(view: WebView, request: WebResourceRequest): WebResourceResponse? =
                loader.shouldInterceptRequest(request.url)

            override fun shouldOverrideUrlLoading(view: WebView, request: WebResourceRequest): Boolean = true

            override fun onPageFinished(view: WebView, url: String) {
                ready = true
                waiting?.let(::show)
            }
        }
        view.loadUrl("https://appassets.androidplatform.net/assets/viewer/index.html")
    }

    /** Show what was made; `number` is another one each time, so that nothing old is shown. */
    fun show(number: Int) {
        waiting = number
        if (ready) view.evaluateJavascript("window.gen3d.show($number)", null)
    }
}
